"""What to reconcile after restoring the ledger from a backup."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class ToReconcile:
    """Jobs of one state that may have been submitted after the backup."""

    state: str
    jobs: int
    marked: int
    """How many of them are already marked for a look-up."""
    without_reference: int
    """How many have no creditorReference column value to look them up by."""


# One query per state, because the indexes are per state.
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
    """The jobs that may still send a case, by state."""
    return [ToReconcile(*row) for row in connection.execute(_OPEN)]


def newest_entry(connection: Connection) -> datetime | None:
    """The approximate time of the newest entry in the ledger; None if it is empty."""
    moment: datetime | None = connection.execute(_NEWEST).scalar()
    return moment


def look_up_until(connection: Connection) -> datetime | None:
    """Until when new jobs are looked up first after a restore, or None."""
    moment: datetime | None = connection.execute(_LOOK_UP_UNTIL).scalar()
    return moment


def leader(connection: Connection) -> str | None:
    """The worker with the leading dispatcher; None if there is none."""
    name: str | None = connection.execute(_LEADER).scalar()
    return name
