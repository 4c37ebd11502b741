"""What has to be reconciled after the ledger was restored from a backup."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class ToReconcile:
    """The jobs of one state that a restored ledger cannot be sure of."""

    state: str
    jobs: int
    marked: int
    """Of these, so many are marked already."""
    without_reference: int
    """And so many have no creditorReference in its column, by which they could be looked up."""


# One part for each state, since an index knows the rows of one state only.
_OPEN = text(
    " UNION ALL ".join(
        f"SELECT '{state}' AS state, count(*) AS jobs, count(*) FILTER (WHERE look_up_first) AS marked,"
        f" count(*) FILTER (WHERE creditor_reference IS NULL) AS without_reference FROM jobs WHERE state = '{state}'"
        for state in ("pending", "waiting", "queued", "submitting", "dead")
    )
)
_NEWEST = text(
    """
    SELECT GREATEST((SELECT created_at FROM jobs ORDER BY id DESC LIMIT 1),
                    (SELECT max(finalized_at) FROM jobs WHERE state = 'submitted' AND finalized_at IS NOT NULL),
                    (SELECT at FROM audit_log ORDER BY id DESC LIMIT 1))
    """
)
_LOOK_UP_UNTIL = text("SELECT max(look_up_until) FROM restores WHERE look_up_until > now()")
_LEADER = text("SELECT leader FROM dispatcher WHERE lease_until > now()")


def to_reconcile(connection: Connection) -> list[ToReconcile]:
    """The jobs from which a case may still be sent, by state."""
    return [ToReconcile(*row) for row in connection.execute(_OPEN)]


def newest_entry(connection: Connection) -> datetime | None:
    """About the last moment that the ledger knows of; None for an empty one."""
    moment: datetime | None = connection.execute(_NEWEST).scalar()
    return moment


def look_up_until(connection: Connection) -> datetime | None:
    """Until when jobs that arrive are looked up first, after a restore; None when they are not."""
    moment: datetime | None = connection.execute(_LOOK_UP_UNTIL).scalar()
    return moment


def leader(connection: Connection) -> str | None:
    """The worker whose dispatcher leads just now; None: no worker is running."""
    name: str | None = connection.execute(_LEADER).scalar()
    return name
