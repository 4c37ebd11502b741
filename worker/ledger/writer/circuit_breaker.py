"""Count an API's own faults, judge them by what the whole fleet has seen, and open the circuit in an outage."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.states import VERDICTS, Api, State
from worker.ledger.writer.holds import CIRCUIT_OF, hold
from worker.ledger.writer.record import Result
from worker.policy import brake
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
# A job fails persistently if it began to fail before the API's last good answer, and before the look-back. A good
# second has more answers than failures; a failed mint is not an answer in that count. Counts and closings dated in the
# future are from before the clock was set back. An attempt that a dead worker left open is no answer.
_PERSISTENTLY_FAILING = "(failing_since < look.back AND failing_since < look.good) IS TRUE"
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
        SELECT id, {_PERSISTENTLY_FAILING} AS persistently_failing
        FROM jobs, look WHERE id = ANY(:jobs)
    ), failed AS (
        SELECT DISTINCT a.job_id AS id FROM look, attempts a JOIN jobs j ON j.id = a.job_id
        WHERE {_FAILED} AND a.finished_at > look.back AND NOT ({_PERSISTENTLY_FAILING})
        UNION SELECT id FROM own WHERE NOT persistently_failing
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
           ARRAY(SELECT id FROM own WHERE persistently_failing) AS persistently_failing,
           (SELECT EXTRACT(epoch FROM now() - since)::float8 FROM holds WHERE name = :circuit) AS open_for
    FROM look, used
    """
)


def record_failures(
    connection: Connection,
    api: Api,
    *,
    jobs: Sequence[UUID],
    answers: int,
    run: FailureRun,
    now: float,
    detail: str,
) -> bool:
    """Count jobs that failed by an API's own fault (a tenant's 4xx are none), and open the circuit in an outage.

    `answers` came with them and are not counted yet (`record` does). `run` is what this process has seen lately; these
    jobs are added to it, at its clock's time `now`. Returns whether the circuit is open now: then don't count these
    attempts, and let no job die of them.
    """
    circuit = CIRCUIT_OF[api]
    connection.execute(_COUNT_FAILURES, {"api": api.value, "failures": len(jobs)})
    parameters = {
        "api": api.value, "circuit": circuit.value, "jobs": list(jobs), "window": FAILURE_WINDOW, "silence": SILENCE,
        "silence_back": SILENCE_LOOK_BACK,
    }  # fmt: skip
    row = connection.execute(_SEEN, parameters).one()
    # A failed mint is not among the API's answers, so add it; the Customer API's failures already are.
    mints = api is Api.REFERRAL
    total = max(row.answers + answers + (row.failures if mints else 0), row.failures)
    own_answers = answers + (len(jobs) if mints else 0)
    in_silence = row.failed_in_silence if own_answers == len(jobs) else 0
    seen = Seen(row.look_back, total, row.failures, row.failed_jobs, in_silence)
    run.note(
        now=now,
        answers=own_answers,
        failed=jobs,
        persistently_failing=row.persistently_failing,
        look_back=row.look_back,
    )
    if row.open_for is None and not is_outage(seen, run):
        return False
    words = (
        f"{seen.failures} of {total} requests failed within {max(1, round(seen.look_back))} s, the last one: {detail}"
    )
    hold(connection, circuit, seconds=probe_pause(row.open_for or 0.0), detail=words, jobs=jobs)
    return True


_REPORT = text(
    """
    WITH counted AS (
        INSERT INTO api_use AS u (api, since, answers)
        SELECT api, date_trunc('second', clock_timestamp()), answers
        FROM (VALUES ('customer', CAST(:answers AS int)), ('referral', CAST(:mints AS int))) AS n(api, answers)
        WHERE answers > 0
        ON CONFLICT (api, since) DO UPDATE SET answers = u.answers + EXCLUDED.answers
    ), closed AS (
        DELETE FROM holds
        WHERE name IN ('api_key', 'referral_api') AND :mints > 0 OR name = 'customer_api' AND probe_job = ANY(:answered)
           OR name = 'brake' AND probe_job = ANY(:ended)
        RETURNING name, since, verdict
    ), ended AS (
        INSERT INTO past_holds (name, since, ended_at, verdict) SELECT name, since, now(), verdict FROM closed
        ON CONFLICT DO NOTHING
    ), probed AS (
        UPDATE holds SET until = GREATEST(until, now() + make_interval(secs => :brake_pause))
        WHERE name = 'brake' AND probe_job = ANY(:recorded) AND NOT probe_job = ANY(:ended)
    )
    INSERT INTO circuit_closings AS c (circuit, closed_at) SELECT name, now() FROM closed
    ON CONFLICT (circuit) DO UPDATE SET closed_at = EXCLUDED.closed_at
    """
)


def report_api_health(connection: Connection, results: Sequence[Result], *, mints: int) -> None:
    """Count the answers of both APIs, and close the circuits that these answers prove healthy.

    `mints` is how many the Referral API answered since the last report, with a token or a refusal of the tenant: either
    proves that the partner's API key and that API work. The Customer API's circuit closes if its probe is among the
    results and was answered without a fault. The brake is released if its probe was submitted or refused, but not with
    the brake's own verdict: `worker.ledger.writer.brake` has already dropped such a probe.
    """
    sent = [result for result in results if result.sent]
    ended = [r.job_id for r in results if r.state is State.SUBMITTED or r.reason in VERDICTS]
    if not results and not mints:
        return
    answered = [result.job_id for result in sent if result.trouble is None]
    connection.execute(
        _REPORT,
        {
            "answers": len(sent),
            "mints": mints,
            "answered": answered,
            "ended": ended,
            "recorded": [r.job_id for r in results],
            "brake_pause": brake.PROBE_EVERY,
        },
    )
