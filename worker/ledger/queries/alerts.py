"""Conditions to alert on. Each query uses an index and takes milliseconds.

Reads no case data and no API messages: alerts go to third-party servers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.writer.holds import CIRCUITS

#: Failures counted per group at most; beyond that, alerts say "more than".
COUNTED = 1000
#: Causes read at most.
MOST_CAUSES = 20_000


@dataclass(frozen=True, slots=True)
class OpenCause:
    """A cause with open failures."""

    cause: UUID
    first_letter: int
    """Its oldest open dead letter: a resolved cause that returns is a new event."""


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A group of failures, without the API's message."""

    cause: UUID
    reason: str
    error_type: str | None
    http_status: int | None
    failures: int
    """Counted up to COUNTED."""


@dataclass(frozen=True, slots=True)
class BadLink:
    """A tenant with an invalid client link."""

    external_tenant_id: str
    reason: str
    first_letter: int


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """An open circuit: it pauses the fleet until a probe succeeds."""

    name: str
    since: datetime


# Skip from one cause to the next, so that the cost depends on the number of causes, not of failures.
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
    """The causes of all open failures, oldest first."""
    rows = connection.execute(_CAUSES, {"most": MOST_CAUSES})
    return sorted((OpenCause(row.cause, row.first_letter) for row in rows), key=lambda found: found.first_letter)


def group_facts(connection: Connection, causes: Sequence[UUID]) -> list[GroupFacts]:
    """Facts about these groups, in the same order; groups without open failures are left out."""
    rows = connection.execute(_GROUPS, {"causes": list(causes), "counted": COUNTED})
    return [GroupFacts(**row._mapping) for row in rows]


def bad_links_since(connection: Connection, moment: datetime | None, *, margin: float, settles: float) -> list[BadLink]:
    """Tenants whose link failed after `moment` minus `margin` seconds, and is still open. None: all tenants.

    Ignore failures of the last `settles` seconds: the brake may still restore them. The margin covers
    transactions that began before the moment and committed after it.
    """
    rows = connection.execute(_BAD_LINKS, {"since": moment, "margin": margin, "settles": settles})
    return [BadLink(**row._mapping) for row in rows]


def still_bad_links(connection: Connection, tenants: Sequence[str]) -> set[str]:
    """The tenants of these that still have an open failure for their link."""
    return set(connection.execute(_STILL_BAD, {"tenants": list(tenants)}).scalars()) if tenants else set()


def open_circuits(connection: Connection) -> list[OpenCircuit]:
    """The open circuits, including the one of a rejected partner key."""
    rows = connection.execute(_CIRCUITS, {"names": [name.value for name in CIRCUITS]})
    return [OpenCircuit(**row._mapping) for row in rows]


def oldest_pending(connection: Connection) -> tuple[datetime, float] | None:
    """When the oldest ready job became ready, and its age in seconds; None if no job is ready."""
    row = connection.execute(_OLDEST).one()
    return (row.since, row.seconds) if row.since is not None else None


def leads(connection: Connection, name: str) -> bool:
    """Whether the dispatcher with this name is the leader now."""
    statement = text("SELECT EXISTS (SELECT FROM dispatcher WHERE leader = :name AND lease_until > now())")
    return bool(connection.execute(statement, {"name": name}).scalar())


#: Days for which an abandoned delivery is shown.
SHOWN_DAYS = 7


@dataclass(frozen=True, slots=True)
class Known:
    """A condition that was alerted and still holds."""

    key: str
    kind: str
    facts: dict[str, object]
    since: datetime
    seen_seconds_ago: float
    held_seconds: float


@dataclass(frozen=True, slots=True)
class ReceiverStatus:
    """The delivery status of one receiver, identified by its host."""

    host: str
    waiting: int
    """Alerts not delivered yet."""
    given_up: int
    """Alerts abandoned within the last SHOWN_DAYS."""
    last_error: str | None
    """The error of the newest failed delivery."""


_KNOWN = text(
    """
    SELECT key, kind, facts, since, EXTRACT(epoch FROM now() - seen_at)::float8 AS seen_seconds_ago,
           EXTRACT(epoch FROM now() - since)::float8 AS held_seconds
    FROM alert_conditions
    """
)
_RECENT = text(
    "SELECT kind, count(*) AS alerts FROM alerts WHERE created_at > now() - make_interval(secs => :seconds) GROUP BY 1"
)
_RECEIVERS = text(
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
    """The alerted conditions that still hold, by key."""
    return {row.key: Known(**row._mapping) for row in connection.execute(_KNOWN)}


def told_lately(connection: Connection, *, seconds: float) -> dict[str, int]:
    """The number of alerts of each kind in the last `seconds`."""
    return {row.kind: row.alerts for row in connection.execute(_RECENT, {"seconds": seconds})}


def receivers(connection: Connection) -> list[ReceiverStatus]:
    """The receivers with undelivered or abandoned alerts."""
    return [ReceiverStatus(**row._mapping) for row in connection.execute(_RECEIVERS, {"days": SHOWN_DAYS})]
