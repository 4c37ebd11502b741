"""How the telling goes: what was told lately, what waits to be told, and what was given up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

#: Days for which a delivery that was given up is shown.
SHOWN_DAYS = 7


@dataclass(frozen=True, slots=True)
class Known:
    """A condition that has been told of."""

    key: str
    kind: str
    facts: dict[str, object]
    since: datetime
    seen_seconds_ago: float
    held_seconds: float


@dataclass(frozen=True, slots=True)
class ReceiverStanding:
    """One receiver, by its host."""

    host: str
    waiting: int
    """Alerts that have not reached it yet."""
    given_up: int
    """Alerts given up within the last SHOWN_DAYS."""
    last_error: str | None
    """Of the newest one that failed."""


_KNOWN = text(
    """
    SELECT key, kind, facts, since, EXTRACT(epoch FROM now() - seen_at)::float8 AS seen_seconds_ago,
           EXTRACT(epoch FROM now() - since)::float8 AS held_seconds
    FROM alert_conditions
    """
)
_TOLD = text(
    "SELECT kind, count(*) AS alerts FROM alerts WHERE created_at > now() - make_interval(secs => :seconds) GROUP BY 1"
)
_STANDING = text(
    """
    SELECT host, count(*) FILTER (WHERE state = 'pending') AS waiting,
           count(*) FILTER (WHERE state = 'given_up') AS given_up,
           (array_agg(last_error ORDER BY COALESCE(finished_at, due_at) DESC)
            FILTER (WHERE last_error IS NOT NULL AND state <> 'delivered'))[1] AS last_error
    FROM alert_deliveries
    WHERE state = 'pending' OR (state = 'given_up' AND finished_at > now() - make_interval(days => :days))
    GROUP BY 1 ORDER BY 1
    """
)


def known_conditions(connection: Connection) -> dict[str, Known]:
    """What has been told of and is not over, by its key."""
    return {row.key: Known(**row._mapping) for row in connection.execute(_KNOWN)}


def told_lately(connection: Connection, *, seconds: float) -> dict[str, int]:
    """How many alerts of each kind were written within so many seconds."""
    return {row.kind: row.alerts for row in connection.execute(_TOLD, {"seconds": seconds})}


def receivers(connection: Connection) -> list[ReceiverStanding]:
    """The receivers that have not been told everything."""
    return [ReceiverStanding(**row._mapping) for row in connection.execute(_STANDING, {"days": SHOWN_DAYS})]
