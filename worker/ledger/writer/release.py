"""The dispatcher's transitions. Each is safe with two dispatchers at once: SKIP LOCKED and conditional updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Row, text

from worker.ledger.states import Priority
from worker.ledger.writer.arrival import SERVED_ROUND, STOPPED, raise_served
from worker.ledger.writer.holds import CIRCUITS
from worker.policy.retry import RetryPolicy

#: The most rows to move in one statement, so that a tick stays a short transaction.
CHUNK = 1000
#: For callers that don't limit a tenant's share.
NO_CAP = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Released:
    """A job that is on its way to the Celery queue."""

    id: UUID
    alone: bool
    """Publish it in a message of its own: an earlier worker may have died of it."""
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the dispatcher must know before it releases."""

    priorities: list[Priority]
    """The priorities with pending jobs, the highest first."""
    queued: int
    held: bool
    """A hold is in force: nothing goes out."""
    probing: bool
    """A circuit is open and its time is over: one job may go out, to test whether the fault is over."""
    probe_under_way: bool
    unpublished: bool
    """The broker accepted no message at the last try."""


def lead(connection: Connection, *, leader: str, lease_seconds: float) -> bool:
    """Become, or stay, the leading dispatcher. Returns whether we lead."""
    return (
        connection.execute(
            text(
                "UPDATE dispatcher SET leader = :leader, lease_until = now() + make_interval(secs => :seconds)"
                " WHERE id = 1 AND (leader = :leader OR lease_until IS NULL OR lease_until < now()"
                # Longer than any lease: the clock was set back since, and a dead leader won't correct it.
                " OR lease_until > now() + make_interval(secs => :seconds)) RETURNING id"
            ),
            {"leader": leader, "seconds": lease_seconds},
        ).scalar()
        is not None
    )


def step_down(connection: Connection, *, leader: str) -> None:
    """Let another dispatcher lead at once."""
    connection.execute(
        text("UPDATE dispatcher SET leader = NULL, lease_until = NULL WHERE id = 1 AND leader = :leader"),
        {"leader": leader},
    )


def first_of(priority: int) -> str:
    """SQL: that priority, if a job of it is pending. Read in an index's order, so a million others cost nothing."""
    return f"""(SELECT priority FROM jobs WHERE state = 'pending' AND priority = {priority}
                    ORDER BY priority, round, created_at, id LIMIT 1)"""


def standing(connection: Connection) -> Snapshot:
    """Return how much is under way, and whether anything holds the fleet."""
    row = connection.execute(
        text(
            f"""
            SELECT ARRAY_REMOVE(ARRAY[{first_of(0)}, {first_of(1)}, {first_of(2)}], NULL) AS pending,
                   (SELECT count(*) FROM jobs WHERE state = 'queued') AS queued,
                   COALESCE(bool_or(h.until > now()), false) AS held,
                   COALESCE(bool_or(h.name = ANY(:circuits)), false) AS probing,
                   COALESCE(bool_or((SELECT j.state IN ('queued', 'submitting') FROM jobs j WHERE j.id = h.probe_job)),
                            false) AS probe_under_way,
                   EXISTS (SELECT FROM dispatcher WHERE unpublished_since IS NOT NULL) AS unpublished
            FROM holds h
            """
        ),
        {"circuits": [name.value for name in CIRCUITS]},
    ).one()
    pending = [Priority(p) for p in row.pending]
    return Snapshot(pending, row.queued, row.held, row.probing, row.probe_under_way, row.unpublished)


# Pick and lock the rows first, once (MATERIALIZED), and find them again by their id alone: with a condition on the
# state in the update as well, a planner with old statistics would scan all rows of that state for each of them.
# Woken jobs join the round being served, so that jobs which arrived meanwhile don't get old rounds.
_WAKE_DUE = text(
    f"""
    WITH due AS MATERIALIZED (
        SELECT id FROM jobs WHERE state = 'waiting' AND due_at <= now()
        ORDER BY due_at LIMIT :chunk FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs j
    SET state = CASE WHEN NOT j.link_trial AND {STOPPED.format(tenant="j.external_tenant_id")}
                     THEN 'held' ELSE 'pending' END,
        due_at = NULL, wait_reason = NULL,
        round = GREATEST(j.round, {SERVED_ROUND.format(priority="j.priority")})
    FROM due WHERE j.id = due.id
    """
)
_TAKE_BACK_UNCLAIMED = text(
    """
    WITH unclaimed AS MATERIALIZED (
        SELECT id FROM jobs WHERE state = 'queued' AND queued_at < now() - make_interval(secs => :seconds)
        ORDER BY queued_at LIMIT :chunk FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs j SET state = 'pending', queued_at = NULL FROM unclaimed WHERE j.id = unclaimed.id
    """
)


def wake_due(connection: Connection) -> int:
    """`waiting` → `pending` (or `held`, if its tenant's link is invalid) for what is due. Returns how many."""
    return connection.execute(_WAKE_DUE, {"chunk": CHUNK}).rowcount


def reclaim_unclaimed(connection: Connection, *, requeue_seconds: float) -> int:
    """`queued` → `pending` for ids that no worker claimed in time: their message is lost, or its worker is."""
    return connection.execute(_TAKE_BACK_UNCLAIMED, {"seconds": requeue_seconds, "chunk": CHUNK}).rowcount


_TAKE_BACK_EXPIRED = """
    WITH expired AS MATERIALIZED (
        SELECT id, lease_owner FROM jobs WHERE state = 'submitting' AND lease_until < now()
        ORDER BY lease_until LIMIT :chunk FOR UPDATE SKIP LOCKED
    ), closed AS (
        UPDATE attempts a
        SET finished_at = now(), outcome = 'unknown', error_type = 'lease_expired',
            error_message = 'worker ' || expired.lease_owner || ' did not report back before its lease was over'
        FROM expired WHERE a.job_id = expired.id AND a.outcome IS NULL
        RETURNING a.job_id
    ), moved AS (
        UPDATE jobs j
        SET state = CASE WHEN j.attempt_count >= :limit THEN 'dead' ELSE 'waiting' END,
            due_at = CASE WHEN j.attempt_count >= :limit THEN NULL
                     WHEN j.attempt_count = 0 THEN now()
                     ELSE now() + make_interval(secs => {backoff}) END,
            wait_reason = CASE WHEN j.attempt_count < :limit THEN 'worker_lost' END,
            lease_token = NULL, lease_owner = NULL, lease_until = NULL,
            attempt_count = j.attempt_count + 1, outcome_unknown = true, worker_lost = true, next_trigger = 'retry',
            last_error = 'worker ' || expired.lease_owner || ' did not report back before its lease was over'
        FROM expired WHERE j.id = expired.id
        RETURNING j.id, j.state, j.last_error
    ), buried AS (
        INSERT INTO dead_letters (job_id, reason, invalid_client_link, detail)
        SELECT id, 'outcome_unknown', false, jsonb_build_object('message', last_error) FROM moved WHERE state = 'dead'
    )
    SELECT id, state = 'dead' AS dead, EXISTS (SELECT FROM closed WHERE closed.job_id = moved.id) AS unanswered
    FROM moved
"""


class Expired(NamedTuple):
    """A job whose worker did not report back."""

    id: UUID
    dead: bool
    """It is dead now, its outcome unknown."""
    unanswered: bool
    """A request of it may have left."""


def reclaim_expired(connection: Connection, *, policy: RetryPolicy) -> list[Expired]:
    """`submitting` → `waiting` for jobs whose worker did not report back; their open attempts become `unknown`.

    The first time they are due at once (their worker's death says nothing about the API), later with backoff. A job
    that has reached the policy's `reclaim_limit` is dead-lettered.
    """
    # The job's own attempt counts too: it is under way when its worker is lost.
    statement = text(_TAKE_BACK_EXPIRED.format(backoff=policy.backoff_in_sql("j.attempt_count + 1")))
    return [Expired(*row) for row in connection.execute(statement, {"chunk": CHUNK, "limit": policy.reclaim_limit})]


# That the job is still pending, in a form that matches no index; see `_WAKE_DUE` for why.
GUARD = "(j.state || '') = 'pending'"
# How many jobs each tenant has under way. Two parts, since each index covers the rows of one state.
BUSY = """SELECT external_tenant_id, count(*) AS jobs FROM (
            SELECT external_tenant_id FROM jobs WHERE state = 'queued'
            UNION ALL SELECT external_tenant_id FROM jobs WHERE state = 'submitting') under_way GROUP BY 1"""
# The first in turn, as many as may be needed; of each tenant, as many as its cap allows. Only released rows are locked:
# `lock_for_release` lets one dispatcher at a time do this, and even without it the condition on the state releases each
# job once.
_RELEASE = text(
    f"""
    WITH busy AS (
        {BUSY}
    ), head AS (
        SELECT id, external_tenant_id, priority, round, created_at FROM jobs
        WHERE state = 'pending' AND priority >= :priority
        ORDER BY priority, round, created_at, id LIMIT :look
    ), ranked AS (
        SELECT head.*, COALESCE(busy.jobs, 0)
               + row_number() OVER (PARTITION BY external_tenant_id ORDER BY priority, round, created_at, id) AS nth
        FROM head LEFT JOIN busy USING (external_tenant_id)
    ), picked AS (
        SELECT id FROM ranked WHERE nth <= :cap ORDER BY priority, round, created_at, id LIMIT :room
    ), moved AS (
        UPDATE jobs j SET state = 'queued', queued_at = now()
        FROM picked WHERE j.id = picked.id AND {GUARD}
        RETURNING j.id, j.worker_lost, j.priority, j.round, j.created_at, j.external_tenant_id
    )
    SELECT * FROM moved
    """
)
# While a circuit is open, jobs that have failed already wait longer: if jobs that always fail went first again, they
# would keep the circuit open for ever, and no job behind them could show that the API works. Among those tried equally
# often, choose at random: requests that got no token are not counted. Caps do not matter to a single job.
_RELEASE_PROBE = text(
    f"""
    WITH head AS (
        SELECT id, request_count, priority, round, created_at,
               EXISTS (SELECT FROM holds WHERE probe_tenant = external_tenant_id) AS probed_last,
               failing_since IS NOT NULL AS failing,
               CASE WHEN failing_since IS NOT NULL OR EXISTS (SELECT FROM holds WHERE name = 'brake') THEN random() END
                   AS chance
        FROM jobs WHERE state = 'pending'
        ORDER BY priority, round, created_at, id LIMIT {CHUNK}
    ), picked AS (
        SELECT id FROM head
        ORDER BY failing, probed_last, request_count, chance, priority, round, created_at, id LIMIT 1
    ), moved AS (
        UPDATE jobs j SET state = 'queued', queued_at = now()
        FROM picked WHERE j.id = picked.id AND {GUARD}
        RETURNING j.id, j.worker_lost, j.priority, j.round, j.created_at, j.external_tenant_id
    )
    SELECT * FROM moved
    """
)


def release(
    connection: Connection, *, room: int, tenant_cap: int = NO_CAP, priority: Priority = Priority.HIGH
) -> list[Released]:
    """`pending` → `queued` for as many as there is room, in turn. Publish them after the commit.

    No tenant gets more than `tenant_cap` jobs under way. `priority`: this one and lower ones only. The rounds of the
    released jobs become the rounds being served.
    """
    parameters = {"room": room, "look": 2 * room + 100, "cap": tenant_cap, "priority": int(priority)}
    moved = connection.execute(_RELEASE, parameters).all()
    served: dict[int, int] = {}
    for row in moved:
        served[row.priority] = max(row.round, served.get(row.priority, 0))
    raise_served(connection, served)
    return in_turn(moved)


def release_probe(connection: Connection) -> list[Released]:
    """`pending` → `queued` for one job: of those next in turn, one that does not fail, or was tried least.

    Nothing if none is pending.
    """
    return in_turn(connection.execute(_RELEASE_PROBE).all())


def any_pending(connection: Connection) -> bool:
    """Whether any job is still pending."""
    return bool(connection.execute(text("SELECT EXISTS (SELECT FROM jobs WHERE state = 'pending')")).scalar())


def in_turn(rows: Sequence[Row[Any]]) -> list[Released]:
    """Return what was moved (rows without an id were not), in turn order."""
    moved = [row for row in rows if row.id is not None]
    ordered = sorted(moved, key=lambda row: (row.priority, row.round, row.created_at, row.id))
    return [Released(row.id, alone=row.worker_lost, tenant=row.external_tenant_id) for row in ordered]


def requeue_all(connection: Connection) -> int:
    """`queued` → `pending` for everything on the queue: a hold has begun, and their messages will find nothing.

    Returns how many.
    """
    return connection.execute(
        text("UPDATE jobs SET state = 'pending', queued_at = NULL WHERE state = 'queued'")
    ).rowcount


def requeue_unpublished(connection: Connection, ids: Sequence[UUID]) -> int:
    """`queued` → `pending` for ids that could not be published. The message of one that was published finds no claim.

    Returns how many.
    """
    return connection.execute(
        text("UPDATE jobs SET state = 'pending', queued_at = NULL WHERE id = ANY(:ids) AND state = 'queued'"),
        {"ids": list(ids)},
    ).rowcount
