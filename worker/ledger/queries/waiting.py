"""Why jobs wait (turn, rate limits, pauses), and how much work is due soon.

`worker.report.waiting` describes it for users.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.states import Api
from worker.ledger.writer.holds import HoldName
from worker.ledger.writer.pace import Use, margin, use
from worker.policy.rate_limit import Pace, Window

#: Jobs counted ahead of a job at most; beyond that, texts say "more than".
COUNTED_AHEAD = 10_000


@dataclass(frozen=True, slots=True)
class WindowUse:
    """One window of the rate limits."""

    window: Window
    used: int
    frees_in: float | None
    """For a full window: seconds until it has room for another request."""


@dataclass(frozen=True, slots=True)
class FleetWaits:
    """What limits the fleet's releases now, and the size of the backlog."""

    backlog: int
    """Jobs that are pending or waiting."""
    backing_off: int
    """How many of them are not due yet."""
    next_due: datetime | None
    """When the first of those is due."""
    windows: list[WindowUse]
    holds: list[dict[str, Any]]
    leader: str | None
    unpublished_since: datetime | None
    """Since when the broker has accepted no message."""
    tenants: int
    """Tenants with such jobs, counted only while the brake is on."""
    amounts: dict[str, str]
    """Their sums by currency as plain decimal numbers, counted only while the brake is on."""
    estimate: float
    """Estimated seconds to release the backlog at the allowed rate."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A pending job's place in the queue."""

    ahead: int
    """Jobs ahead of it, counted up to COUNTED_AHEAD."""
    tenant_under_way: int
    """Queued and submitting jobs of the same tenant."""


def fleet_waits(connection: Connection, pace: Pace) -> FleetWaits:
    """What limits the fleet's releases now."""
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
            "SELECT name, since, until, detail, reason, probes, until > now() AS in_force,"
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
    stopped = [dict(row) for row in holds]
    braked = any(hold["name"] == HoldName.BRAKE for hold in stopped)
    tenants, amounts = _behind_brake(connection) if braked else (0, {})
    return FleetWaits(
        backlog=backlog,
        backing_off=backing_off,
        next_due=next_due,
        windows=windows,
        holds=stopped,
        leader=leader,
        unpublished_since=unpublished_since,
        tenants=tenants,
        amounts=amounts,
        estimate=estimate,
    )


def _behind_brake(connection: Connection) -> tuple[int, dict[str, str]]:
    """The number of waiting tenants, and their amounts by currency."""
    rows = connection.execute(
        text(
            "SELECT count(DISTINCT external_tenant_id) AS tenants, currency, sum(amount)::text AS total FROM jobs"
            " WHERE state IN ('pending', 'waiting') GROUP BY GROUPING SETS ((), (currency))"
        )
    ).all()
    amounts = {row.currency: row.total for row in rows if row.currency and row.total is not None}
    return max((row.tenants for row in rows), default=0), amounts


def windows_in(connection: Connection, pace: Pace, used: Use) -> list[WindowUse]:
    """The use of each window, and when a full one has room again."""
    return [
        WindowUse(window, used.requests[window.seconds], _frees_in(connection, window, used.requests[window.seconds]))
        for window in pace.windows
    ]


def turn(connection: Connection, job_id: UUID) -> Turn | None:
    """The job's place among the pending ones; None if it is not pending."""
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
    # Count whole buckets, like the dispatcher. There is room when the bucket that reaches the limit leaves the window.
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


#: Requests sampled for the average latency.
SAMPLE = 100
#: Tenants counted at most; beyond that, their number no longer limits concurrency.
COUNTED_TENANTS = 500


@dataclass(frozen=True, slots=True)
class DueWork:
    """Work due soon, and the figures to estimate its duration."""

    due_soon: int
    """Waiting jobs due within the given time."""
    lag: float
    """Seconds for which the most overdue job has waited for the dispatcher; 0 if none is overdue."""
    tenants: int
    """Tenants with pending jobs, counted up to COUNTED_TENANTS."""
    latency: float | None
    """Average seconds of recent requests; None before the first."""


_DUE = text(
    """
    SELECT count(*) AS due_soon, COALESCE(GREATEST(EXTRACT(epoch FROM now() - min(due_at)), 0), 0)::float8 AS lag
    FROM jobs WHERE state = 'waiting' AND due_at <= now() + make_interval(secs => :seconds)
    """
)
# Skip from tenant to tenant in the index, so that a tenant's thousands of jobs cost one step.
_TENANTS = text(
    """
    WITH RECURSIVE walk AS (
        (SELECT external_tenant_id AS tenant, 1 AS n FROM jobs WHERE state = 'pending'
         ORDER BY external_tenant_id LIMIT 1)
        UNION ALL
        SELECT (SELECT external_tenant_id FROM jobs WHERE state = 'pending' AND external_tenant_id > walk.tenant
                ORDER BY external_tenant_id LIMIT 1), n + 1
        FROM walk WHERE walk.tenant IS NOT NULL AND n < :most
    )
    SELECT count(tenant) FROM walk
    """
)
# The newest of two kinds: requests of the last submitted jobs, and failed requests of the last minute. While an API
# only times out, the failed ones show how long a request occupies a worker; after it recovers, they count only for
# their share.
_LATENCY = text(
    """
    SELECT avg(duration_ms)::float8 / 1000 FROM (
        SELECT duration_ms FROM (
            SELECT a.job_id, a.number, a.duration_ms, a.finished_at
            FROM (SELECT id FROM jobs WHERE state = 'submitted' AND finalized_at IS NOT NULL
                  ORDER BY finalized_at DESC LIMIT :sample) last JOIN attempts a ON a.job_id = last.id
            WHERE a.duration_ms IS NOT NULL
            UNION
            (SELECT job_id, number, duration_ms, finished_at FROM attempts
             WHERE outcome IN ('server_error', 'unknown', 'not_sent') AND finished_at > now() - interval '1 minute'
               AND duration_ms IS NOT NULL
             ORDER BY finished_at DESC LIMIT :sample)
        ) either ORDER BY finished_at DESC LIMIT :sample
    ) requests
    """
)


def due_work(connection: Connection, *, within: float) -> DueWork:
    """The work due within `within` seconds, and the figures to estimate its duration."""
    due = connection.execute(_DUE, {"seconds": within}).one()
    return DueWork(
        due.due_soon,
        due.lag,
        connection.execute(_TENANTS, {"most": COUNTED_TENANTS}).scalar_one(),
        connection.execute(_LATENCY, {"sample": SAMPLE}).scalar(),
    )
