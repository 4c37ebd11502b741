"""Why something waits, in facts: the turn, the rate windows, the holds. The words are `worker.report.waiting`'s."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.states import Api
from worker.ledger.writer.pace import Use, use
from worker.pace import Pace, Window

#: Jobs counted before a job's turn at most; beyond that "more than" will do.
COUNTED_AHEAD = 10_000


@dataclass(frozen=True, slots=True)
class WindowUse:
    """One window of the rate limits."""

    window: Window
    used: int
    frees_in: float | None
    """For a window that is used up: seconds until its oldest requests leave it."""


@dataclass(frozen=True, slots=True)
class FleetWaits:
    """What keeps the fleet from releasing more just now, and how much there is to release."""

    backlog: int
    """Jobs that are pending or waiting."""
    windows: list[WindowUse]
    holds: list[dict[str, Any]]
    leader: str | None
    estimate: float
    """About how many seconds it takes to release the backlog at the pace that is allowed."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a pending job stands."""

    ahead: int
    """Jobs with an earlier turn, counted up to COUNTED_AHEAD."""
    tenant_under_way: int
    """Jobs of the same tenant that are queued or being submitted."""


def fleet_waits(connection: Connection, pace: Pace) -> FleetWaits:
    """What keeps the fleet from releasing more just now."""
    used: Use = use(connection, Api.CUSTOMER, pace)
    windows = windows_in(connection, pace, used)
    backlog = connection.execute(
        text(
            "SELECT (SELECT count(*) FROM jobs WHERE state = 'pending')"
            " + (SELECT count(*) FROM jobs WHERE state = 'waiting')"
        )
    ).scalar_one()
    holds = connection.execute(
        text("SELECT name, since, until, detail, probes, until > now() AS in_force FROM holds ORDER BY since")
    ).mappings()
    leader = connection.execute(text("SELECT leader FROM dispatcher WHERE lease_until > now()")).scalar()
    return FleetWaits(backlog, windows, [dict(row) for row in holds], leader, pace.seconds_for(backlog, used.requests))


def windows_in(connection: Connection, pace: Pace, used: Use) -> list[WindowUse]:
    """How much of each window is used, and when a full one frees."""
    return [
        WindowUse(window, used.requests[window.seconds], _frees_in(connection, window, used.requests[window.seconds]))
        for window in pace.windows
    ]


def turn(connection: Connection, job_id: UUID) -> Turn | None:
    """Where the job stands among the pending ones; None for a job that is not pending."""
    row = connection.execute(
        text(
            """
            SELECT (SELECT count(*) FROM (
                        SELECT FROM jobs b WHERE b.state = 'pending'
                        AND (b.priority, b.round, b.created_at, b.id) < (j.priority, j.round, j.created_at, j.id)
                        LIMIT :most) ahead) AS ahead,
                   (SELECT count(*) FROM jobs b WHERE b.state = 'queued'
                    AND b.external_tenant_id = j.external_tenant_id)
                   + (SELECT count(*) FROM jobs b WHERE b.state = 'submitting'
                      AND b.external_tenant_id = j.external_tenant_id) AS under_way
            FROM jobs j WHERE j.id = :id AND j.state = 'pending'
            """
        ),
        {"id": job_id, "most": COUNTED_AHEAD},
    ).first()
    return Turn(row.ahead, row.under_way) if row else None


def _frees_in(connection: Connection, window: Window, used: int) -> float | None:
    if used < window.amount:
        return None
    oldest: datetime | None
    oldest, now = connection.execute(
        text(
            "SELECT min(since), clock_timestamp() FROM api_use WHERE api = 'customer' AND requests > 0"
            " AND since > clock_timestamp() - make_interval(secs => :seconds)"
        ),
        {"seconds": window.seconds},
    ).one()
    return max(0.0, window.seconds - (now - oldest).total_seconds()) if oldest else None
