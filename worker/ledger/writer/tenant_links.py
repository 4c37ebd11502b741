"""Stop a tenant's other jobs while its client link is invalid, and free them when it is good.

A tenant with a row in `tenant_links` has jobs that died of its link. Its other jobs are `held`, so that one invalid
link does not cost two requests for each of them. They continue when a job of the tenant gets any other answer (a
replay, or a probe that the dispatcher sends now and then), or when a check or a webhook says that the link is good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from worker.ledger.states import AuditAction, State
from worker.ledger.writer.arrival import SERVED_ROUND

#: The most rows to move in one statement while others wait for it.
CHUNK = 1000
#: Seconds until the first probe of a tenant's link; each next pause is twice as long, up to the longest.
FIRST_PROBE = 900.0
LONGEST_PROBE = 6 * 3600.0

# A probe that found the link still invalid is held again. It needs no dead letter of its own as long as another job of
# the tenant has one to inform a person.
_PROBES_BACK = text(
    """
    WITH probes AS (
        UPDATE jobs j SET state = 'held', link_trial = false, attempt_count = 0
        FROM tenant_links l
        WHERE j.id = ANY(:ids) AND l.probe_job = j.id AND j.state = 'dead'
          AND EXISTS (SELECT FROM jobs o JOIN dead_letters d ON d.job_id = o.id AND d.resolved_at IS NULL
                      WHERE o.state = 'dead' AND o.external_tenant_id = j.external_tenant_id AND o.id <> j.id
                        AND d.invalid_client_link)
        RETURNING j.id
    )
    DELETE FROM dead_letters d USING probes WHERE d.job_id = probes.id AND d.resolved_at IS NULL
    RETURNING d.job_id
    """
)
_MARK = text(
    """
    INSERT INTO tenant_links AS l (external_tenant_id, reason, probe_at, probe_pause)
    SELECT DISTINCT ON (j.external_tenant_id) j.external_tenant_id, d.reason, now() + make_interval(secs => :first),
           2 * :first
    FROM jobs j JOIN dead_letters d ON d.job_id = j.id AND d.resolved_at IS NULL
    WHERE j.id = ANY(:ids) ORDER BY j.external_tenant_id, j.id
    ON CONFLICT (external_tenant_id) DO UPDATE SET good = false, since = now(), reason = EXCLUDED.reason,
        probe_at = EXCLUDED.probe_at, probe_pause = EXCLUDED.probe_pause WHERE l.good
    """
)
# From tenant to tenant through the indexes of one state each, so that finished jobs cost nothing. Waiting jobs are held
# when they are due (`worker.ledger.writer.release`).
_HOLD = tuple(
    text(
        f"""
        WITH others AS MATERIALIZED (
            SELECT h.id FROM tenant_links l CROSS JOIN LATERAL (
                SELECT id FROM jobs WHERE state = '{state}' AND external_tenant_id = l.external_tenant_id
                AND NOT link_trial LIMIT :chunk FOR UPDATE SKIP LOCKED
            ) h
            WHERE NOT l.good LIMIT :chunk
        )
        UPDATE jobs j SET state = 'held', queued_at = NULL FROM others WHERE j.id = others.id
        """
    )
    for state in (State.QUEUED, State.PENDING)
)
# The served round is computed once for each priority: for each row it would walk all that this statement has moved.
_FREE = f"""
    WITH served AS MATERIALIZED (
        SELECT p.priority, {SERVED_ROUND.format(priority="p.priority")} AS round
        FROM (VALUES (0::smallint), (1::smallint), (2::smallint)) p (priority)
    ), freed AS MATERIALIZED (
        {{which}} LIMIT :chunk FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs j SET state = 'pending', round = GREATEST(j.round, served.round)
    FROM freed, served WHERE j.id = freed.id AND served.priority = j.priority
"""
_GOOD = text(
    """
    WITH good AS (
        UPDATE tenant_links SET good = true WHERE external_tenant_id = ANY(:tenants) AND NOT good
        RETURNING external_tenant_id
    )
    SELECT count(*) FROM good JOIN jobs j ON j.state = 'held' AND j.external_tenant_id = good.external_tenant_id
    """
)
_FREE_GOOD = text(
    _FREE.format(
        which="SELECT id FROM jobs WHERE state = 'held' AND external_tenant_id = ANY("
        "ARRAY(SELECT external_tenant_id FROM tenant_links WHERE good))"
    )
)
_FORGET_GOOD = text(
    """
    DELETE FROM tenant_links l WHERE l.good
    AND NOT EXISTS (SELECT FROM jobs WHERE state = 'held' AND external_tenant_id = l.external_tenant_id)
    """
)
_FREE_STRAGGLERS = text(
    _FREE.format(
        which="SELECT id FROM jobs h WHERE h.state = 'held' AND NOT EXISTS ("
        "SELECT FROM tenant_links l WHERE l.external_tenant_id = h.external_tenant_id)"
    )
)
_PROBE = text(
    f"""
    WITH due AS (
        SELECT l.external_tenant_id, first.id FROM tenant_links l CROSS JOIN LATERAL (
            SELECT id FROM jobs h WHERE h.state = 'held' AND h.external_tenant_id = l.external_tenant_id
            ORDER BY h.external_tenant_id, h.priority, h.round, h.created_at, h.id LIMIT 1
        ) first
        WHERE l.probe_at <= now() AND NOT l.good ORDER BY l.probe_at LIMIT :chunk FOR UPDATE OF l SKIP LOCKED
    ), noted AS (
        UPDATE tenant_links l
        SET probe_at = now() + make_interval(secs => l.probe_pause), probe_job = due.id,
            probe_pause = LEAST(2 * l.probe_pause, :longest)
        FROM due WHERE l.external_tenant_id = due.external_tenant_id
    )
    UPDATE jobs j
    SET state = 'pending', link_trial = true, round = GREATEST(j.round, {SERVED_ROUND.format(priority="j.priority")})
    FROM due WHERE j.id = due.id AND j.state = 'held'
    RETURNING j.id, j.external_tenant_id
    """
)
_AUDIT = text(
    "INSERT INTO audit_log (actor, action, detail) VALUES ('worker', :action,"
    " jsonb_build_object('tenants', CAST(:tenants AS int), 'jobs', CAST(:jobs AS int)))"
)


class LinkProbe(NamedTuple):
    """A held job that goes out to test whether its tenant's link is good again."""

    id: UUID
    tenant: str


def stop_links(connection: Connection, died: Sequence[UUID]) -> set[UUID]:
    """After these jobs died of their tenants' links: hold the tenants' other jobs.

    Returns those of the jobs that were probes: they are held again, and have no dead letter.
    """
    probes = set(connection.execute(_PROBES_BACK, {"ids": list(died)}).scalars())
    rest = [job for job in died if job not in probes]
    if rest:
        connection.execute(_MARK, {"ids": rest, "first": FIRST_PROBE})
        hold_stragglers(connection)
    return probes


def free_links(connection: Connection, tenants: Sequence[str]) -> int:
    """Free the held jobs of these tenants: their links are good. Returns how many; audited if there were any."""
    held = int(connection.execute(_GOOD, {"tenants": list(tenants)}).scalar_one())
    free_stragglers(connection)
    if held:
        connection.execute(_AUDIT, {"action": AuditAction.LINK_FREED.value, "tenants": len(tenants), "jobs": held})
    return held


def free_links_of(connection: Connection, jobs: Sequence[UUID]) -> int:
    """As `free_links`, for the tenants of these jobs."""
    tenants = connection.execute(
        text("SELECT DISTINCT external_tenant_id FROM jobs WHERE id = ANY(:ids)"), {"ids": list(jobs)}
    ).scalars()
    return free_links(connection, list(tenants))


def held_jobs(connection: Connection, *, tenant: str | None = None, ids: Sequence[UUID] = ()) -> list[UUID]:
    """Return the held jobs of that tenant, or those of the ids that are held."""
    statement = text(
        "SELECT id FROM jobs WHERE state = 'held' AND (external_tenant_id = CAST(:tenant AS text) OR id = ANY(:ids))"
        " ORDER BY id"
    )
    return list(connection.execute(statement, {"tenant": tenant, "ids": list(ids)}).scalars())


def hold_stragglers(connection: Connection) -> int:
    """`pending` and `queued` → `held` for jobs of tenants whose link is invalid, CHUNK at most. Returns how many."""
    return sum(connection.execute(statement, {"chunk": CHUNK}).rowcount for statement in _HOLD)


def free_stragglers(connection: Connection) -> int:
    """`held` → `pending` for jobs of tenants whose link is good, CHUNK at most. Returns how many."""
    freed = connection.execute(_FREE_GOOD, {"chunk": CHUNK}).rowcount
    connection.execute(_FORGET_GOOD)
    return freed


def free_orphans(connection: Connection) -> int:
    """`held` → `pending` for jobs that arrived while their tenant's mark was taken away, CHUNK at most."""
    return connection.execute(_FREE_STRAGGLERS, {"chunk": CHUNK}).rowcount


def probe_links(connection: Connection) -> list[LinkProbe]:
    """`held` → `pending` for one job of each tenant whose probe is due."""
    rows = connection.execute(_PROBE, {"chunk": CHUNK, "longest": LONGEST_PROBE})
    return [LinkProbe(row.id, row.external_tenant_id) for row in rows]
