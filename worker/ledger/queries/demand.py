"""What there is to do soon, and how long it takes lately: for whoever decides how many workers there should be."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

#: Requests that are looked at to know how long one takes.
SAMPLE = 100
#: Tenants counted at most; beyond that their number is not what keeps jobs from being under way.
COUNTED_TENANTS = 500


@dataclass(frozen=True, slots=True)
class DueWork:
    """Beyond the counts of states."""

    due_soon: int
    """Waiting jobs that are due within the seconds that were asked for."""
    lag: float
    """For how many seconds the longest overdue one waits for a dispatcher to wake it; 0 without one."""
    tenants: int
    """Tenants with pending jobs, counted up to COUNTED_TENANTS."""
    latency: float | None
    """Seconds that a request took lately, on average; None before the first one."""


_DUE = text(
    """
    SELECT count(*) AS due_soon, COALESCE(GREATEST(EXTRACT(epoch FROM now() - min(due_at)), 0), 0)::float8 AS lag
    FROM jobs WHERE state = 'waiting' AND due_at <= now() + make_interval(secs => :seconds)
    """
)
# From tenant to tenant through the index, so that a tenant's thousands of jobs cost one step.
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
# The newest of two kinds: requests of the jobs that were submitted last, and the failed ones of the last minute. While
# an API only runs into timeouts, it is these that tell how long a request keeps a worker busy; once it answers again,
# they count for no more than their share.
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
    """What will be due within that many seconds, and what is known of how long it takes."""
    due = connection.execute(_DUE, {"seconds": within}).one()
    return DueWork(
        due.due_soon,
        due.lag,
        connection.execute(_TENANTS, {"most": COUNTED_TENANTS}).scalar_one(),
        connection.execute(_LATENCY, {"sample": SAMPLE}).scalar(),
    )
