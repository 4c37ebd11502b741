"""The state of the pipeline in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from worker.ledger.states import Reason, State


@dataclass(frozen=True, slots=True)
class Counts:
    """The state of the pipeline in numbers."""

    jobs: dict[str, int]
    open_dead_letters: int
    invalid_client_links: int
    by_reason: dict[str, int]
    oldest_pending_seconds: float | None
    holds: list[dict[str, Any]]
    leader: str | None


def counts(connection: Connection) -> Counts:
    """Jobs by state, open dead letters by reason, the age of the oldest pending job in seconds, and the holds."""
    jobs = dict.fromkeys((state.value for state in State), 0)
    jobs |= {
        row.state: row.n for row in connection.execute(text("SELECT state, count(*) AS n FROM jobs GROUP BY state"))
    }
    by_reason = {
        row.reason: row.n
        for row in connection.execute(
            text(
                "SELECT reason, count(*) AS n FROM dead_letters WHERE resolved_at IS NULL"
                " GROUP BY reason ORDER BY n DESC"
            )
        )
    }
    invalid = by_reason.get(Reason.SECOND_UNAUTHORIZED, 0) + by_reason.get(Reason.CLIENT_LINK_NOT_FOUND, 0)
    oldest = connection.execute(
        text("SELECT EXTRACT(epoch FROM now() - min(pending_since))::float8 FROM jobs WHERE state = 'pending'")
    ).scalar()
    holds = connection.execute(
        text("SELECT name, since, until, detail, until > now() AS in_force FROM holds ORDER BY name")
    ).mappings()
    leader = connection.execute(text("SELECT leader FROM dispatcher WHERE lease_until > now()")).scalar()
    return Counts(jobs, sum(by_reason.values()), invalid, by_reason, oldest, [dict(h) for h in holds], leader)


def schema_version(connection: Connection) -> str | None:
    """The database's migration, or None for a database that was never migrated."""
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
