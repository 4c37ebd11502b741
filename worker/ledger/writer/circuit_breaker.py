"""Failures of an API's own trouble: counted, judged by what the whole fleet has seen, and the circuit opened if it is
time."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.states import Api
from worker.ledger.writer.holds import CIRCUIT_OF, hold
from worker.policy.circuit_breaker import (
    FAILURE_WINDOW,
    SILENCE,
    SILENCE_LOOK_BACK,
    FailureRun,
    Seen,
    is_outage,
    probe_pause,
)

_COUNT_FAILURES = text(
    """
    INSERT INTO api_use AS u (api, since, failures) VALUES (:api, date_trunc('second', clock_timestamp()), :failures)
    ON CONFLICT (api, since) DO UPDATE SET failures = u.failures + EXCLUDED.failures
    """
)
# A job is hopeless that began to fail before the API's last good answer, and before the time that is looked back on. (A
# good second is one in which more answers came than failures; failures of the mint are no answers in that count. Counts
# and closings from times that have not come are from before the clock was set back.) What a worker left behind when it
# died is no answer of the API's.
_HOPELESS = "(failing_since < look.back AND failing_since < look.good) IS TRUE"
_FAILED = """:api = 'customer' AND a.outcome IN ('server_error', 'unknown', 'not_sent')
          AND a.error_type IS DISTINCT FROM 'lease_expired'"""
_SEEN = text(
    f"""
    WITH closing AS (
        SELECT max(closed_at) AS closed_at FROM circuit_closings WHERE circuit = :circuit AND closed_at <= now()
    ), look AS MATERIALIZED (
        SELECT GREATEST(now() - make_interval(secs => :window), closed_at) AS back,
               GREATEST(closed_at, (
                   SELECT max(since) FROM api_use
                   WHERE api = :api AND since <= now()
                     AND answers > CASE WHEN :api = 'customer' THEN failures ELSE 0 END)) AS good
        FROM closing
    ), own AS (
        SELECT id, {_HOPELESS} AS hopeless
        FROM jobs, look WHERE id = ANY(:jobs)
    ), failed AS (
        SELECT DISTINCT a.job_id AS id FROM look, attempts a JOIN jobs j ON j.id = a.job_id
        WHERE {_FAILED} AND a.finished_at > look.back AND NOT ({_HOPELESS})
        UNION SELECT id FROM own WHERE NOT hopeless
    ), in_silence AS (
        SELECT a.job_id AS id FROM look, attempts a
        WHERE {_FAILED} AND a.finished_at > GREATEST(look.good, now() - make_interval(secs => :silence_back))
        UNION SELECT id FROM own
    ), used AS (
        SELECT COALESCE(sum(failures), 0) AS failures, COALESCE(sum(answers), 0) AS answers
        FROM api_use, look WHERE api = :api AND since >= date_trunc('second', look.back)
    )
    SELECT EXTRACT(epoch FROM now() - look.back)::float8 AS look_back, used.failures, used.answers,
           (SELECT count(*) FROM failed) AS failed_jobs,
           CASE WHEN (look.good >= now() - make_interval(secs => :silence)) IS TRUE THEN 0
                ELSE (SELECT count(*) FROM in_silence) END AS failed_in_silence,
           ARRAY(SELECT id FROM own WHERE hopeless) AS hopeless,
           (SELECT EXTRACT(epoch FROM now() - since)::float8 FROM holds WHERE name = :circuit) AS open_for
    FROM look, used
    """
)


def mind_failures(
    connection: Connection,
    api: Api,
    *,
    jobs: Sequence[UUID],
    answers: int,
    run: FailureRun,
    now: float,
    detail: str,
) -> bool:
    """After jobs failed by an API's own trouble (a tenant's 4xx are none): count it, open the circuit if it is time.

    `answers` came with them and are not counted yet (`record` does). `run` is what this process has seen lately; it is
    told of these jobs here, at its clock's time `now`. Returns whether the circuit is open now: then these attempts are
    not to be counted, and nothing may die of them.
    """
    circuit = CIRCUIT_OF[api]
    connection.execute(_COUNT_FAILURES, {"api": api.value, "failures": len(jobs)})
    parameters = {
        "api": api.value, "circuit": circuit.value, "jobs": list(jobs), "window": FAILURE_WINDOW, "silence": SILENCE,
        "silence_back": SILENCE_LOOK_BACK,
    }  # fmt: skip
    row = connection.execute(_SEEN, parameters).one()
    # Failures of the mint are answers of their own; the Customer API's are among its answers.
    mints = api is Api.REFERRAL
    total = max(row.answers + answers + (row.failures if mints else 0), row.failures)
    own_answers = answers + (len(jobs) if mints else 0)
    in_silence = row.failed_in_silence if own_answers == len(jobs) else 0
    seen = Seen(row.look_back, total, row.failures, row.failed_jobs, in_silence)
    run.note(now=now, answers=own_answers, failed=jobs, hopeless=row.hopeless, look_back=row.look_back)
    if row.open_for is None and not is_outage(seen, run):
        return False
    words = (
        f"{seen.failures} of {total} requests failed within {max(1, round(seen.look_back))} s, the last one: {detail}"
    )
    hold(connection, circuit, seconds=probe_pause(row.open_for or 0.0), detail=words, jobs=jobs)
    return True
