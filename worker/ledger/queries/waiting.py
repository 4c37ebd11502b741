"""Why something waits, in facts: the turn, the rate windows, the holds. The words are `worker.report.waiting`'s."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.states import Api
from worker.ledger.writer.pace import Use, margin, use
from worker.policy.rate_limit import Pace, Window

#: Jobs counted before a job's turn at most; beyond that "more than" will do.
COUNTED_AHEAD = 10_000


@dataclass(frozen=True, slots=True)
class WindowUse:
    """One window of the rate limits."""

    window: Window
    used: int
    frees_in: float | None
    """For a window that is used up: seconds until enough requests have left it for one more."""


@dataclass(frozen=True, slots=True)
class FleetWaits:
    """What keeps the fleet from releasing more just now, and how much there is to release."""

    backlog: int
    """Jobs that are pending or waiting."""
    backing_off: int
    """Those of them that are not due yet."""
    next_due: datetime | None
    """When the first of those is due."""
    windows: list[WindowUse]
    holds: list[dict[str, Any]]
    leader: str | None
    unpublished_since: datetime | None
    """Since when the broker has taken no message."""
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
    pending, backing_off, next_due = connection.execute(
        text(
            "SELECT (SELECT count(*) FROM jobs WHERE state = 'pending'), count(*), min(due_at) FROM jobs"
            " WHERE state = 'waiting'"
        )
    ).one()
    backlog = pending + backing_off
    holds = connection.execute(
        text(
            "SELECT name, since, until, detail, probes, until > now() AS in_force,"
            " EXTRACT(epoch FROM now() - since)::float8 AS seconds FROM holds ORDER BY since"
        )
    ).mappings()
    leader, unpublished_since = connection.execute(
        text("SELECT CASE WHEN lease_until > now() THEN leader END, unpublished_since FROM dispatcher")
    ).one()
    estimate = pace.seconds_for(backlog, used.requests)
    if backlog:
        full = [window.frees_in for window in windows if window.frees_in is not None]
        estimate = max([estimate, *(seconds + backlog * pace.interval for seconds in full)])
    return FleetWaits(
        backlog, backing_off, next_due, windows, [dict(row) for row in holds], leader, unpublished_since, estimate
    )


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
    # As the dispatcher counts: whole buckets. There is room again when the one goes that makes it too many.
    counted = window.seconds + margin(window.seconds)
    seconds = connection.execute(
        text(
            """
            SELECT EXTRACT(epoch FROM max(since) - clock_timestamp())::float8 FROM (
                SELECT since, sum(requests) OVER (ORDER BY since DESC) AS requests FROM api_use
                WHERE api = 'customer' AND since > clock_timestamp() - make_interval(secs => :counted)) counted
            WHERE requests >= :amount
            """
        ),
        {"counted": counted, "amount": window.amount},
    ).scalar()
    return 0.0 if seconds is None else max(0.0, counted + float(seconds))
