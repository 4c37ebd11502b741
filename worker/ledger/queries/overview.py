"""Counts of the pipeline's state. No query scans all final rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from worker.ledger.states import FINAL_STATES, INVALID_LINK_REASONS, State


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of the pipeline's state."""

    jobs: dict[str, int]
    open_dead_letters: int
    invalid_client_links: int
    by_reason: dict[str, int]
    oldest_pending_seconds: float | None
    holds: list[dict[str, Any]]
    leader: str | None


@dataclass(frozen=True, slots=True)
class Tiles:
    """The figures at the top of the front page."""

    open_failures: int
    """Open dead letters: dead jobs and unreadable messages."""
    invalid_client_links: int
    """Jobs that wait for a client link, dead or held."""
    tenants_with_invalid_links: int
    amounts: dict[str, str]
    """Sums of the dead jobs by currency as plain decimal numbers; `?` for an unknown currency. Ordered by number of
    jobs."""
    without_amount: int
    """Dead jobs with an unknown amount, which are in none of the sums."""
    oldest: datetime | None
    """The time of the oldest open failure."""
    living: dict[str, int]
    """Jobs that are `pending`, `waiting`, `queued`, `submitting` or `held`."""
    submitted_today: int
    """Since midnight UTC."""
    oldest_pending_seconds: float | None
    holds: list[dict[str, Any]]
    """The pauses: name, since, until, detail, in_force."""
    leader: str | None
    """The worker with the leading dispatcher; None if there is none."""
    now: datetime
    """The database's time."""


# Each state is counted in its own partial index.
_LIVING = text(
    " UNION ALL ".join(
        f"SELECT '{state}' AS state, count(*) AS jobs FROM jobs WHERE state = '{state}'"
        for state in (State.PENDING, State.WAITING, State.QUEUED, State.SUBMITTING, State.HELD)
    )
)
_DEAD = text("SELECT count(*) FROM jobs WHERE state = 'dead'")
# Past days are counted once (`worker.ledger.writer.days`); count only the jobs finished since then.
_FINAL = text(
    " UNION ALL ".join(
        f"""
        SELECT '{state}' AS state, COALESCE((SELECT sum(jobs) FROM finished_days WHERE state = '{state}'), 0)::bigint
               + (SELECT count(*) FROM jobs WHERE state = '{state}' AND finalized_at >= COALESCE(
                      (SELECT (max(day) + 1)::timestamp AT TIME ZONE 'UTC' FROM finished_days), '-infinity')) AS jobs
        """
        for state in FINAL_STATES
    )
)
_REASONS = text(
    "SELECT reason, count(*) AS failures, min(created_at) AS oldest FROM dead_letters WHERE resolved_at IS NULL"
    " GROUP BY reason ORDER BY failures DESC, reason"
)
_UNLINKED = text(
    "SELECT count(*) FROM (SELECT j.external_tenant_id FROM dead_letters d JOIN jobs j ON j.id = d.job_id"
    " AND j.state = 'dead' WHERE d.resolved_at IS NULL AND d.invalid_client_link GROUP BY 1"
    " UNION SELECT external_tenant_id FROM jobs WHERE state = 'held' GROUP BY 1) tenants"
)
_AT_STAKE = text(
    "SELECT COALESCE(currency, '?') AS currency, sum(amount)::text AS total, count(*) - count(amount) AS without"
    " FROM jobs WHERE state = 'dead' GROUP BY 1 ORDER BY count(amount) DESC, 1"
)
_TODAY = text(
    "SELECT count(*) FROM jobs WHERE state = 'submitted'"
    " AND finalized_at >= date_trunc('day', now(), 'UTC') AND finalized_at IS NOT NULL"
)
_OLDEST_PENDING = text(
    "SELECT EXTRACT(epoch FROM now() - min(pending_since))::float8 FROM jobs"
    " WHERE state = 'pending' AND pending_since > '-infinity'"
)
_HOLDS = text("SELECT name, since, until, detail, until > now() AS in_force FROM holds ORDER BY name")
_LEADER = text("SELECT leader FROM dispatcher WHERE lease_until > now()")


def counts(connection: Connection) -> Counts:
    """Jobs by state, open dead letters by reason, the oldest pending job's age in seconds, and the pauses."""
    jobs = dict.fromkeys((state.value for state in State), 0)
    jobs |= living(connection)
    jobs |= {row.state: row.jobs for row in connection.execute(_FINAL)}
    jobs[State.DEAD.value] = connection.execute(_DEAD).scalar_one()
    by_reason = {row.reason: row.failures for row in connection.execute(_REASONS)}
    return Counts(
        jobs,
        sum(by_reason.values()),
        sum(by_reason.get(reason, 0) for reason in INVALID_LINK_REASONS),
        by_reason,
        connection.execute(_OLDEST_PENDING).scalar(),
        holds(connection),
        connection.execute(_LEADER).scalar(),
    )


def tiles(connection: Connection) -> Tiles:
    """The figures at the top of the front page."""
    reasons = connection.execute(_REASONS).all()
    moving = living(connection)
    dead_of_link = sum(row.failures for row in reasons if row.reason in INVALID_LINK_REASONS)
    money = connection.execute(_AT_STAKE).all()
    return Tiles(
        open_failures=sum(row.failures for row in reasons),
        invalid_client_links=dead_of_link + moving[State.HELD.value],
        tenants_with_invalid_links=connection.execute(_UNLINKED).scalar_one(),
        amounts={row.currency: row.total for row in money if row.total is not None},
        without_amount=sum(row.without for row in money),
        oldest=min((row.oldest for row in reasons), default=None),
        living=moving,
        submitted_today=connection.execute(_TODAY).scalar_one(),
        oldest_pending_seconds=connection.execute(_OLDEST_PENDING).scalar(),
        holds=holds(connection),
        leader=connection.execute(_LEADER).scalar(),
        now=moment_of(connection),
    )


def living(connection: Connection) -> dict[str, int]:
    """Unfinished jobs, by state."""
    return {row.state: row.jobs for row in connection.execute(_LIVING)}


def holds(connection: Connection) -> list[dict[str, Any]]:
    """The pauses: name, since, until, detail, and whether each is in force."""
    return [dict(row) for row in connection.execute(_HOLDS).mappings()]


def moment_of(connection: Connection) -> datetime:
    """The database's current time."""
    moment: datetime = connection.execute(text("SELECT now()")).scalar_one()
    return moment


def schema_version(connection: Connection) -> str | None:
    """The database's migration version; None if it was never migrated."""
    if connection.execute(text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def oldest_code(connection: Connection) -> str | None:
    """The oldest code version compatible with the schema; None if not recorded."""
    if connection.execute(text("SELECT to_regclass('schema_support')")).scalar() is None:
        return None
    return connection.execute(text("SELECT oldest_code FROM schema_support")).scalar()
