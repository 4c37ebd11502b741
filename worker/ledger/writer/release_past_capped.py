"""Release past tenants at their cap: when they fill the head of the turn, scan tenant by tenant to find the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from worker.ledger.writer.arrival import raise_served
from worker.ledger.writer.release import BUSY, GUARD, Released, in_turn

#: The most tenants to look at in one go.
WALK = 500


@dataclass(frozen=True, slots=True)
class TenantScan:
    """How far a scan from tenant to tenant has come; the next scan starts again."""

    after: str = ""
    """The tenant that was looked at last."""
    lowest: Mapping[int, int] = field(default_factory=dict)
    """The lowest round, of each priority, in which a tenant below its cap was found waiting."""


_RELEASE_PAST_CAPPED = text(
    f"""
    WITH RECURSIVE busy AS (
        {BUSY}
    ), walk AS (
        (SELECT external_tenant_id AS tenant FROM jobs WHERE state = 'pending' AND external_tenant_id > :after
         ORDER BY external_tenant_id LIMIT 1)
        UNION ALL
        SELECT (SELECT external_tenant_id FROM jobs WHERE state = 'pending' AND external_tenant_id > walk.tenant
                ORDER BY external_tenant_id LIMIT 1)
        FROM walk WHERE walk.tenant IS NOT NULL
    ), tenants AS (
        SELECT tenant FROM walk WHERE tenant IS NOT NULL LIMIT :look
    ), firsts AS (
        SELECT first.* FROM tenants LEFT JOIN busy ON busy.external_tenant_id = tenants.tenant CROSS JOIN LATERAL (
            SELECT id, priority, round, created_at FROM jobs
            WHERE state = 'pending' AND external_tenant_id = tenants.tenant
            ORDER BY external_tenant_id, priority, round LIMIT 1
        ) first
        WHERE COALESCE(busy.jobs, 0) < :cap
    ), picked AS (
        SELECT id FROM firsts ORDER BY priority, round, created_at, id LIMIT :room
    ), moved AS (
        UPDATE jobs j SET state = 'queued', queued_at = now()
        FROM picked WHERE j.id = picked.id AND {GUARD}
        RETURNING j.id, j.worker_lost, j.priority, j.round, j.created_at, j.external_tenant_id
    )
    SELECT (SELECT max(tenant) FROM tenants) AS walked_to, (SELECT count(*) FROM tenants) AS seen,
           (SELECT jsonb_object_agg(priority, round) FROM (
               SELECT priority, min(round) AS round FROM firsts GROUP BY 1) lowest) AS lowest, moved.*
    FROM (SELECT) one LEFT JOIN moved ON true
    """
)


def release_past_capped(
    connection: Connection, *, room: int, tenant_cap: int, walk: TenantScan
) -> tuple[list[Released], TenantScan]:
    """As `release`, one job a tenant, for the tenants that come next in the scan.

    A released job may be far ahead of its turn, since only some tenants were looked at; so it does not set the round
    being served. At the end of the scan, that becomes the lowest round in which a tenant below its cap waits. Returns
    the jobs, and the scan from where it ended.
    """
    parameters = {"room": room, "look": WALK, "cap": tenant_cap, "after": walk.after}
    rows = connection.execute(_RELEASE_PAST_CAPPED, parameters).all()
    lowest = dict(walk.lowest)
    for priority, round_ in (rows[0].lowest or {}).items():
        lowest[int(priority)] = min(round_, lowest.get(int(priority), round_))
    if rows[0].seen == WALK:
        return in_turn(rows), TenantScan(rows[0].walked_to, lowest)
    raise_served(connection, lowest)
    return in_turn(rows), TenantScan()
