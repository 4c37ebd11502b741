"""What there is to alert of: facts that hold just now. Each question is answered from an index, in milliseconds.

Nothing of a case, and no word of an API's message, is read here: an alert goes to other people's servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.writer.holds import CIRCUITS

#: Failures of a group that are counted; beyond that, "more than" will do.
COUNTED = 1000
#: Causes that are looked at; a ledger with more has other troubles.
MOST_CAUSES = 20_000


@dataclass(frozen=True, slots=True)
class OpenCause:
    """A cause that open failures have."""

    cause: UUID
    first_letter: int
    """Its oldest open dead letter: so a cause that comes back after it was settled is another event."""


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A group of failures, without what the API said."""

    cause: UUID
    reason: str
    error_type: str | None
    http_status: int | None
    failures: int
    """Counted up to COUNTED."""


@dataclass(frozen=True, slots=True)
class BadLink:
    """A tenant whose link was found invalid."""

    external_tenant_id: str
    reason: str
    first_letter: int


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """Something that holds the fleet until a probe succeeds."""

    name: str
    since: datetime


# From one cause to the next, so that the cost is that of the causes and not of the failures.
_CAUSES = text(
    """
    WITH RECURSIVE causes AS (
        (SELECT cause, id FROM dead_letters WHERE resolved_at IS NULL ORDER BY cause, id LIMIT 1)
        UNION ALL
        SELECT next.cause, next.id FROM causes CROSS JOIN LATERAL (
            SELECT cause, id FROM dead_letters WHERE resolved_at IS NULL AND cause > causes.cause
            ORDER BY cause, id LIMIT 1
        ) next
    )
    SELECT cause, id AS first_letter FROM causes LIMIT :most
    """
)
_GROUPS = text(
    """
    SELECT wanted.cause, d.reason, d.error_type, d.http_status,
           (SELECT count(*) FROM (SELECT FROM dead_letters c WHERE c.cause = wanted.cause AND c.resolved_at IS NULL
                                  LIMIT :counted) counted) AS failures
    FROM unnest(CAST(:causes AS uuid[])) WITH ORDINALITY AS wanted (cause, place)
    CROSS JOIN LATERAL (
        SELECT reason, error_type, http_status FROM dead_letters
        WHERE cause = wanted.cause AND resolved_at IS NULL ORDER BY cause, id DESC LIMIT 1
    ) d
    ORDER BY wanted.place
    """
)
_BAD_LINKS = text(
    """
    SELECT j.external_tenant_id, min(d.reason) AS reason, min(d.id) AS first_letter
    FROM dead_letters d JOIN jobs j ON j.id = d.job_id
    WHERE d.resolved_at IS NULL AND d.invalid_client_link
      AND d.created_at >= COALESCE(CAST(:since AS timestamptz), '-infinity') - make_interval(secs => :margin + :settles)
      AND d.created_at <= now() - make_interval(secs => :settles)
    GROUP BY 1 ORDER BY 3
    """
)
_STILL_BAD = text(
    """
    SELECT tenant FROM unnest(CAST(:tenants AS text[])) AS tenant
    WHERE EXISTS (SELECT FROM jobs j JOIN dead_letters d ON d.job_id = j.id AND d.resolved_at IS NULL
                  WHERE j.state = 'dead' AND j.external_tenant_id = tenant AND d.invalid_client_link)
    """
)
_CIRCUITS = text("SELECT name, since FROM holds WHERE name = ANY(:names) ORDER BY since")
_OLDEST = text(
    "SELECT min(pending_since) AS since, EXTRACT(epoch FROM now() - min(pending_since))::float8 AS seconds FROM jobs"
    " WHERE state = 'pending' AND pending_since > '-infinity'"
)


def open_causes(connection: Connection) -> list[OpenCause]:
    """The causes of all open failures, the oldest first."""
    rows = connection.execute(_CAUSES, {"most": MOST_CAUSES})
    return sorted((OpenCause(row.cause, row.first_letter) for row in rows), key=lambda found: found.first_letter)


def group_facts(connection: Connection, causes: Sequence[UUID]) -> list[GroupFacts]:
    """What can be said of these groups, in their order; without those that have no open failure any more."""
    rows = connection.execute(_GROUPS, {"causes": list(causes), "counted": COUNTED})
    return [GroupFacts(**row._mapping) for row in rows]


def bad_links_since(connection: Connection, moment: datetime | None, *, margin: float, settles: float) -> list[BadLink]:
    """The tenants with an open failure for their link that came after that moment, less `margin` seconds.

    Failures of the last `settles` seconds are left for later: the brake may still take them back. The margin is for
    transactions that began before the moment and were committed after it. None: all of them.
    """
    rows = connection.execute(_BAD_LINKS, {"since": moment, "margin": margin, "settles": settles})
    return [BadLink(**row._mapping) for row in rows]


def still_bad_links(connection: Connection, tenants: Sequence[str]) -> set[str]:
    """Those of the tenants that still have an open failure for their link."""
    return set(connection.execute(_STILL_BAD, {"tenants": list(tenants)}).scalars()) if tenants else set()


def open_circuits(connection: Connection) -> list[OpenCircuit]:
    """The circuits that are open, a refused partner key's among them."""
    rows = connection.execute(_CIRCUITS, {"names": [name.value for name in CIRCUITS]})
    return [OpenCircuit(**row._mapping) for row in rows]


def oldest_pending(connection: Connection) -> tuple[datetime, float] | None:
    """Since when the oldest job that is ready waits, and how many seconds that is. None: no job is ready."""
    row = connection.execute(_OLDEST).one()
    return (row.since, row.seconds) if row.since is not None else None


def leads(connection: Connection, name: str) -> bool:
    """Whether the dispatcher of that name leads just now."""
    statement = text("SELECT EXISTS (SELECT FROM dispatcher WHERE leader = :name AND lease_until > now())")
    return bool(connection.execute(statement, {"name": name}).scalar())


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
