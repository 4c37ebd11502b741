"""The dispatcher's transitions. Each is right with two dispatchers at once: SKIP LOCKED and conditional updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

#: Rows moved by one statement at most, so that a tick stays a short transaction.
CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Released:
    """A job that is on its way to the Celery queue."""

    id: UUID
    alone: bool
    """Publish it in a message of its own: an earlier worker may have died of it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the dispatcher must know before it releases."""

    queued: int
    submitting: int
    held: bool
    probing: bool
    """The partner API key was refused lately; let jobs out one at a time."""


def lead(connection: Connection, *, leader: str, lease_seconds: float) -> bool:
    """Become, or stay, the leading dispatcher. Returns whether we lead."""
    return (
        connection.execute(
            text(
                "UPDATE dispatcher SET leader = :leader, lease_until = now() + make_interval(secs => :seconds)"
                " WHERE id = 1 AND (leader = :leader OR lease_until IS NULL OR lease_until < now()) RETURNING id"
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


def standing(connection: Connection) -> Standing:
    """How much is under way, and whether anything holds the fleet."""
    row = connection.execute(
        text(
            """
            SELECT (SELECT count(*) FROM jobs WHERE state = 'queued') AS queued,
                   (SELECT count(*) FROM jobs WHERE state = 'submitting') AS submitting,
                   COALESCE(bool_or(until > now()), false) AS held,
                   COALESCE(bool_or(name = 'api_key'), false) AS probing
            FROM holds
            """
        )
    ).one()
    return Standing(row.queued, row.submitting, row.held, row.probing)


def wake_due(connection: Connection) -> int:
    """`waiting` → `pending` for what is due. Returns how many."""
    return connection.execute(
        text(
            """
            UPDATE jobs SET state = 'pending', due_at = NULL
            WHERE state = 'waiting' AND id IN (
                SELECT id FROM jobs WHERE state = 'waiting' AND due_at <= now()
                ORDER BY due_at LIMIT :chunk FOR UPDATE SKIP LOCKED)
            """
        ),
        {"chunk": CHUNK},
    ).rowcount


def take_back_unclaimed(connection: Connection, *, requeue_seconds: float) -> int:
    """`queued` → `pending` for ids that nobody claimed in time: their message is lost, or its worker is."""
    return connection.execute(
        text(
            """
            UPDATE jobs SET state = 'pending', queued_at = NULL
            WHERE state = 'queued' AND id IN (
                SELECT id FROM jobs WHERE state = 'queued' AND queued_at < now() - make_interval(secs => :seconds)
                ORDER BY queued_at LIMIT :chunk FOR UPDATE SKIP LOCKED)
            """
        ),
        {"seconds": requeue_seconds, "chunk": CHUNK},
    ).rowcount


_TAKE_BACK_EXPIRED = text(
    """
    WITH expired AS (
        SELECT id, lease_owner FROM jobs WHERE state = 'submitting' AND lease_until < now()
        ORDER BY lease_until LIMIT :chunk FOR UPDATE SKIP LOCKED
    ), closed AS (
        UPDATE attempts a
        SET finished_at = now(), outcome = 'unknown', error_type = 'lease_expired',
            error_message = 'worker ' || expired.lease_owner || ' did not report back before its lease was over'
        FROM expired WHERE a.job_id = expired.id AND a.outcome IS NULL
    ), moved AS (
        UPDATE jobs j
        SET state = CASE WHEN j.attempt_count >= :limit THEN 'dead' ELSE 'waiting' END,
            due_at = CASE WHEN j.attempt_count >= :limit THEN NULL
                     WHEN j.attempt_count = 0 THEN now()
                     ELSE now() + make_interval(secs => random() * LEAST(:retry_max, :retry_base * power(2,
                     LEAST(j.attempt_count, 40)))) END,
            lease_token = NULL, lease_owner = NULL, lease_until = NULL,
            attempt_count = j.attempt_count + 1, outcome_unknown = true, next_trigger = 'retry',
            last_error = 'worker ' || expired.lease_owner || ' did not report back before its lease was over'
        FROM expired WHERE j.id = expired.id AND j.state = 'submitting'
        RETURNING j.id, j.state, j.last_error
    ), buried AS (
        INSERT INTO dead_letters (job_id, reason, invalid_client_link, detail)
        SELECT id, 'outcome_unknown', false, jsonb_build_object('message', last_error) FROM moved WHERE state = 'dead'
    )
    SELECT id FROM moved
    """
)


def take_back_expired(connection: Connection, *, max_attempts: int, retry_base: float, retry_max: float) -> list[UUID]:
    """`submitting` → `waiting` for jobs whose worker did not report back; their open attempts become `unknown`.

    The first time they are due at once (their worker's death says nothing of the API), later with backoff. A job at its
    limit is still given out, so that a worker can look up what became of it; only one that goes on outliving its
    workers beyond that is buried here, so that it cannot kill processes for ever.
    """
    rows = connection.execute(
        _TAKE_BACK_EXPIRED,
        {"chunk": CHUNK, "limit": max_attempts + 3, "retry_base": retry_base, "retry_max": retry_max},
    )
    return list(rows.scalars())


_RELEASE = text(
    """
    WITH picked AS (
        SELECT id FROM jobs WHERE state = 'pending'
        ORDER BY priority, round, created_at, id LIMIT :room FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs j SET state = 'queued', queued_at = now()
    FROM picked WHERE j.id = picked.id AND j.state = 'pending'
    RETURNING j.id, j.outcome_unknown, j.priority, j.round, j.created_at
    """
)


def release(connection: Connection, *, room: int) -> list[Released]:
    """`pending` → `queued` for as many as there is room, in turn. Publish them after the commit."""

    def turn(row: tuple[UUID, bool, int, int, datetime]) -> tuple[int, int, datetime, UUID]:
        return (row[2], row[3], row[4], row[0])

    rows = sorted((tuple(row) for row in connection.execute(_RELEASE, {"room": room})), key=turn)
    return [Released(row[0], alone=row[1]) for row in rows]


def put_back(connection: Connection, ids: Sequence[UUID]) -> None:
    """`queued` → `pending` for ids that could not be published. One that was published after all is claimed by
    nobody."""
    connection.execute(
        text("UPDATE jobs SET state = 'pending', queued_at = NULL WHERE id = ANY(:ids) AND state = 'queued'"),
        {"ids": list(ids)},
    )
