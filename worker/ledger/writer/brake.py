"""The brake: when the API refuses every job alike, stop the fleet and take back the jobs that died of it.

`worker.policy.brake` decides; this stores. The brake is a row in `holds`, so it is probed like a circuit: one job at a
time, of changing tenants, until one is submitted or ends with another verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Connection, Row, text

from worker.ledger.states import INVALID_LINK_REASONS, VERDICTS, AuditAction
from worker.ledger.writer.resolve import Actor
from worker.ledger.writer.tenant_links import free_links
from worker.policy.brake import (
    ACCEPTED_FOR,
    LOOK_BACK,
    MOST_ROWS,
    MOST_WITHDRAWALS,
    ONSET,
    BrakePolicy,
    Death,
    probe_pause,
    run_began,
)
from worker.policy.replay_plan import keeps_key_in_sql

#: The actor of taking back jobs that died of the API's fault.
ACTOR = "brake"
NOTE = "withdrawn: the API refused everybody"

_SAME = "(CASE WHEN {d}.invalid_client_link THEN {d}.reason ELSE {d}.cause::text END)"
# One recorder at a time judges deaths, so that none misses a death that another has not committed yet.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('case_worker.brake', 0))")
_ACTIVE = text(
    "SELECT verdict, since, EXTRACT(epoch FROM now() - since)::float8 AS open_for FROM holds WHERE name = 'brake'"
)
_DIED = text(
    f"""
    SELECT {_SAME.format(d="d")} AS verdict, d.reason, d.job_id,
           COALESCE(NULLIF(concat_ws(': ', d.error_type, d.detail->>'message'), ''), d.reason) AS message
    FROM dead_letters d WHERE d.job_id = ANY(:ids) AND d.resolved_at IS NULL AND d.reason = ANY(:verdicts)
      AND NOT EXISTS (SELECT FROM accepted_verdicts a
                      WHERE a.verdict = {_SAME.format(d="d")} AND a.accepted_until > now())
    ORDER BY d.id
    """
)
# Verdicts are ordered by when they came, not by when they were recorded: a good answer may wait for its batch. (A death
# without a request, by the mint's answer, has an older attempt at most.)
_CAME = "GREATEST(COALESCE(a.finished_at, {at}), {at} - interval '10 seconds')"
# Read the newest letters by an index before joining anything: there may be very many of one cause.
_RUN = f"""
    WITH letters AS MATERIALIZED (
        SELECT d.id, d.job_id, d.created_at, d.invalid_client_link FROM dead_letters d
        WHERE d.resolved_at IS NULL AND {{same}} AND d.created_at > now() - make_interval(secs => :look_back)
        ORDER BY {{newest}} DESC LIMIT :most
    )
    SELECT EXTRACT(epoch FROM now() - {_CAME.format(at="d.created_at")})::float8 AS seconds_ago,
           j.external_tenant_id AS tenant,
           CASE WHEN d.invalid_client_link
                     AND row_number() OVER (PARTITION BY j.external_tenant_id ORDER BY d.id DESC) = 1
                THEN (SELECT count(*) FROM (SELECT FROM jobs h WHERE h.state = 'held'
                                            AND h.external_tenant_id = j.external_tenant_id LIMIT :jobs) held)
                ELSE 0 END AS held
    FROM letters d JOIN jobs j ON j.id = d.job_id
    LEFT JOIN attempts a ON a.job_id = j.id AND a.number = j.request_count
    WHERE j.withdrawals < :most_withdrawals
    ORDER BY seconds_ago
"""
_RUN_OF_CAUSE = text(_RUN.format(same="d.cause = CAST(:verdict AS uuid)", newest="d.id"))
_RUN_OF_REASON = text(_RUN.format(same="d.reason = :reason", newest="d.created_at"))
_OTHERS = text(
    f"""
    SELECT EXTRACT(epoch FROM now() - {_CAME.format(at="at")})::float8 AS seconds_ago FROM (
        (SELECT id, request_count, finalized_at AS at FROM jobs WHERE state = 'submitted' AND finalized_at IS NOT NULL
         AND finalized_at > now() - make_interval(secs => :look_back) ORDER BY finalized_at DESC LIMIT :most)
        UNION ALL
        (SELECT j.id, j.request_count, d.created_at FROM (
            SELECT d.job_id, d.created_at FROM dead_letters d
            WHERE d.resolved_at IS NULL AND d.reason = ANY(:verdicts) AND {_SAME.format(d="d")} <> :verdict
            ORDER BY d.id DESC LIMIT :most) d JOIN jobs j ON j.id = d.job_id
         WHERE d.created_at > now() - make_interval(secs => :look_back))
    ) other LEFT JOIN attempts a ON a.job_id = other.id AND a.number = other.request_count
    ORDER BY seconds_ago LIMIT :most
    """
)
# A request that left while the brake was on may be answered, or recorded, after its release.
_LATE = text(
    """
    SELECT j.id FROM jobs j JOIN attempts a ON a.job_id = j.id AND a.number = j.request_count
    JOIN past_holds p ON p.name = 'brake' AND p.verdict = :verdict AND a.started_at BETWEEN p.since AND p.ended_at
    WHERE j.id = ANY(:ids) AND p.ended_at > now() - make_interval(secs => :look_back)
    """
)
_PULL = text(
    """
    INSERT INTO holds (name, since, until, detail, verdict, reason)
    VALUES ('brake', now() - make_interval(secs => :ago), now() + make_interval(secs => :pause), :message, :verdict,
            :reason)
    ON CONFLICT (name) DO NOTHING
    """
)
_KEEPS_KEY = keeps_key_in_sql(outcome_unknown="j.outcome_unknown")
# The refusal is stored under the old key, so a known outcome needs a new one (developer-concepts/idempotency).
_WITHDRAW = text(
    f"""
    WITH letters AS (
        UPDATE dead_letters d
        SET resolved_at = now(), resolution = 'withdrawn', resolved_by = :actor, note = :note
        WHERE d.resolved_at IS NULL AND d.job_id IS NOT NULL AND d.reason = :reason
          AND {_SAME.format(d="d")} = :verdict AND d.created_at >= :since
          AND (CAST(:ids AS uuid[]) IS NULL OR d.job_id = ANY(:ids))
        RETURNING d.job_id
    )
    UPDATE jobs j
    SET state = 'pending', withdrawals = j.withdrawals + :counts, attempt_count = GREATEST(j.attempt_count - 1, 0),
        submission_key = CASE WHEN {_KEEPS_KEY} THEN j.submission_key ELSE gen_random_uuid() END,
        next_trigger = 'retry', last_error = :note
    FROM letters WHERE j.id = letters.job_id AND j.state = 'dead'
    RETURNING j.id, j.external_tenant_id
    """
)
_PROLONG = text(
    """
    UPDATE holds SET until = now() + make_interval(secs => :pause), probe_job = NULL
    WHERE name = 'brake' AND probe_job = ANY(:ids)
    """
)
_RELEASE = text(
    """
    WITH closed AS (DELETE FROM holds WHERE name = 'brake' RETURNING name, since, verdict, reason, detail)
    , ended AS (
        INSERT INTO past_holds (name, since, ended_at, verdict) SELECT name, since, now(), verdict FROM closed
        ON CONFLICT DO NOTHING
    ), audited AS (
        INSERT INTO audit_log (actor, action, detail, note)
        SELECT :actor, :action, jsonb_build_object('reason', reason, 'message', detail), :note FROM closed
    )
    SELECT verdict, since, reason, detail FROM closed
    """
)
_ACCEPT = text(
    """
    INSERT INTO accepted_verdicts AS a (verdict, reason, message, accepted_until, accepted_by)
    VALUES (:verdict, :reason, :message, now() + make_interval(secs => :seconds), :actor)
    ON CONFLICT (verdict) DO UPDATE SET accepted_until = EXCLUDED.accepted_until, accepted_by = EXCLUDED.accepted_by
    """
)
_AUDIT = text(
    """
    INSERT INTO audit_log (actor, action, detail, note)
    VALUES (:actor, :action, jsonb_build_object('reason', CAST(:reason AS text), 'message', CAST(:message AS text),
                                                'jobs', CAST(:jobs AS int)), :note)
    """
)


@dataclass(frozen=True, slots=True)
class BrakeState:
    """What the brake stopped."""

    since: datetime
    reason: str
    message: str


def judge_deaths(connection: Connection, died: Sequence[UUID], policy: BrakePolicy) -> set[UUID]:
    """After these jobs died: stop the fleet if the API refuses every job alike, and take back the jobs that died of it.

    Call it in the transaction that recorded the deaths. Returns those of the jobs that were taken back.
    """
    if not policy.jobs:
        return set()
    letters = connection.execute(_DIED, {"ids": list(died), "verdicts": [reason.value for reason in VERDICTS]}).all()
    if not letters:
        return set()
    if (active := connection.execute(_ACTIVE).one_or_none()) is not None:
        return _withdraw(connection, active, letters)
    for letter in {row.verdict: row for row in letters}.values():
        if (seconds := _seconds_of_run(connection, letter, policy)) is not None:
            _pull(connection, letter, seconds)
            return _withdraw(connection, connection.execute(_ACTIVE).one(), letters, pulled=True)
    return _withdraw_late(connection, letters)


def lock_verdicts(connection: Connection) -> None:
    """Let one recorder at a time judge deaths, so that none misses a death that another has not committed yet.

    Take it before any other lock of the transaction.
    """
    connection.execute(_LOCK)


#: Verdict, reason, job and message of an open dead letter.
Letter = Row[tuple[str, str, UUID, str]]


def _seconds_of_run(connection: Connection, letter: Letter, policy: BrakePolicy) -> float | None:
    of_verdict = {
        "verdict": letter.verdict, "reason": letter.reason, "look_back": LOOK_BACK, "most": MOST_ROWS,
        "most_withdrawals": MOST_WITHDRAWALS, "jobs": policy.jobs, "verdicts": [reason.value for reason in VERDICTS],
    }  # fmt: skip
    of_link = letter.reason in INVALID_LINK_REASONS
    rows = connection.execute(_RUN_OF_REASON if of_link else _RUN_OF_CAUSE, of_verdict)
    deaths = [Death(row.seconds_ago, row.tenant, row.held) for row in rows]
    jobs = len(deaths) + sum(death.held for death in deaths)
    if jobs < policy.jobs or len({death.tenant for death in deaths}) < policy.tenants:
        return None
    return run_began(deaths, list(connection.execute(_OTHERS, of_verdict).scalars()), policy)


def _pull(connection: Connection, letter: Letter, seconds: float) -> None:
    words = {"verdict": letter.verdict, "reason": letter.reason, "message": letter.message[:1000]}
    connection.execute(_PULL, words | {"ago": seconds + ONSET, "pause": probe_pause(0.0)})


def _withdraw(
    connection: Connection,
    active: Row[tuple[str, datetime, float]],
    letters: Sequence[Letter],
    *,
    pulled: bool = False,
) -> set[UUID]:
    """Take back the jobs that died of the brake's verdict in this run, including these."""
    same = [row for row in letters if row.verdict == active.verdict]
    if not same:
        return set()
    first = same[0]
    words = {"verdict": first.verdict, "reason": first.reason, "actor": ACTOR, "note": NOTE}
    # Only a job that died before the brake was on has spoken against the API.
    rows = connection.execute(_WITHDRAW, words | {"since": active.since, "counts": int(pulled), "ids": None}).all()
    connection.execute(_PROLONG, {"ids": [row.job_id for row in same], "pause": probe_pause(active.open_for)})
    _note_withdrawn(connection, first, rows)
    return {row.id for row in rows}


def _withdraw_late(connection: Connection, letters: Sequence[Letter]) -> set[UUID]:
    """Take back deaths by requests that left while the brake held the fleet for their verdict."""
    taken: set[UUID] = set()
    for verdict, first in {row.verdict: row for row in letters}.items():
        ids = [row.job_id for row in letters if row.verdict == verdict]
        late = connection.execute(_LATE, {"verdict": verdict, "ids": ids, "look_back": LOOK_BACK}).scalars().all()
        if late:
            words = {"verdict": verdict, "reason": first.reason, "actor": ACTOR, "note": NOTE}
            more = {"since": datetime.min.replace(tzinfo=UTC), "counts": 0, "ids": list(late)}
            rows = connection.execute(_WITHDRAW, words | more).all()
            _note_withdrawn(connection, first, rows)
            taken |= {row.id for row in rows}
    return taken


def _note_withdrawn(connection: Connection, first: Letter, rows: Sequence[Row[tuple[UUID, str]]]) -> None:
    if first.reason in INVALID_LINK_REASONS:
        free_links(connection, list({row.external_tenant_id for row in rows}))
    connection.execute(
        _AUDIT,
        {"actor": ACTOR, "action": AuditAction.BRAKE_WITHDREW.value, "reason": first.reason,
         "message": first.message[:1000], "jobs": len(rows), "note": NOTE},
    )  # fmt: skip


def release_brake(connection: Connection, actor: Actor) -> BrakeState | None:
    """Let the fleet continue; the same verdict may stop it again. Returns the released state; None if it was off."""
    ended = _end(connection, AuditAction.BRAKE_RELEASED, actor)
    return BrakeState(ended.since, ended.reason, ended.detail) if ended else None


def accept_verdict(connection: Connection, actor: Actor) -> BrakeState | None:
    """Let the fleet continue; for a day the verdict counts as each job's own. Returns the released state; None if the
    brake was off."""
    ended = _end(connection, AuditAction.BRAKE_ACCEPTED, actor)
    if ended is None:
        return None
    connection.execute(
        _ACCEPT,
        {"verdict": ended.verdict, "reason": ended.reason, "message": ended.detail, "seconds": ACCEPTED_FOR,
         "actor": actor.name},
    )  # fmt: skip
    return BrakeState(ended.since, ended.reason, ended.detail)


def _end(connection: Connection, action: AuditAction, actor: Actor) -> Row[tuple[str, datetime, str, str]] | None:
    connection.execute(_LOCK)
    return connection.execute(_RELEASE, {"actor": actor.name, "action": action.value, "note": actor.note}).one_or_none()
