"""How much case data has had its time."""

from __future__ import annotations

from sqlalchemy import Connection, text

from worker.ledger.writer.purge import Purged

_DUE = text(
    """
    SELECT (SELECT count(*) FROM jobs WHERE finalized_at IS NOT NULL AND purged_at IS NULL
            AND finalized_at < now() - make_interval(secs => :age)) AS jobs,
           (SELECT count(*) FROM dead_letters WHERE job_id IS NULL AND detail ? 'sent'
            AND resolved_at < now() - make_interval(secs => :age)) AS messages
    """
)


def due(connection: Connection, *, age: float) -> Purged:
    """How much a purge of what has been final for `age` seconds would remove."""
    row = connection.execute(_DUE, {"age": age}).one()
    return Purged(row.jobs, row.messages)


def purged_today(connection: Connection) -> bool:
    """Whether today's (UTC) nightly purge has come to its end already."""
    statement = "SELECT COALESCE(purged_on >= (now() AT TIME ZONE 'UTC')::date, false) FROM dispatcher WHERE id = 1"
    return bool(connection.execute(text(statement)).scalar_one())
