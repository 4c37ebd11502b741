"""The tenants whose client link is invalid: what waits behind each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class InvalidLink:
    """One tenant with an invalid client link."""

    external_tenant_id: str
    jobs: int
    """Dead jobs that wait for the link."""
    amounts: dict[str, str]
    """Their sums by currency, each a plain decimal number; `?` where the currency is not known."""
    without_amount: int
    """Jobs whose amount is not known: they are in none of the sums."""
    since: datetime
    """When the first of these jobs died."""
    last_second_unauthorized: datetime | None
    """When a fresh token was last refused for these jobs; None where there was no link to mint one for."""
    last_submitted: datetime | None
    """When the API last took a case of this tenant; None: never."""


@dataclass(frozen=True, slots=True)
class InvalidLinks:
    """A page of tenants, those with most jobs first."""

    links: list[InvalidLink]
    total: int
    """Tenants in all."""
    after: tuple[int, str] | None
    """What to give as `after` for the next page; None: this is the last."""


_LINKS = text(
    """
    WITH parts AS (
        SELECT j.external_tenant_id AS tenant, j.currency, count(*) AS jobs, count(j.amount) AS known,
               sum(j.amount) AS total, min(d.created_at) AS since,
               max(d.created_at) FILTER (WHERE d.reason = 'second_unauthorized') AS last_second_unauthorized
        FROM dead_letters d JOIN jobs j ON j.id = d.job_id AND j.state = 'dead'
        WHERE d.resolved_at IS NULL AND d.invalid_client_link
        GROUP BY 1, 2
    ), tenants AS (
        SELECT tenant, sum(jobs)::bigint AS jobs, (sum(jobs) - sum(known))::bigint AS without_amount,
               min(since) AS since, max(last_second_unauthorized) AS last_second_unauthorized,
               count(*) OVER () AS tenants
        FROM parts GROUP BY tenant
    ), page AS (
        SELECT * FROM tenants WHERE (-jobs, tenant) > (-CAST(:jobs AS bigint), CAST(:tenant AS text))
        ORDER BY -jobs, tenant LIMIT :limit
    )
    SELECT tenant AS external_tenant_id, jobs,
           COALESCE((SELECT jsonb_object_agg(COALESCE(p.currency, '?'), p.total::text) FROM parts p
                     WHERE p.tenant = page.tenant AND p.known > 0), '{}') AS amounts,
           without_amount, since, last_second_unauthorized,
           (SELECT s.finalized_at FROM jobs s WHERE s.state = 'submitted' AND s.external_tenant_id = page.tenant
            ORDER BY s.external_tenant_id DESC, s.finalized_at DESC LIMIT 1) AS last_submitted, tenants
    FROM page ORDER BY -jobs, tenant
    """
)
_MOST = 2**62


def invalid_links(connection: Connection, *, after: tuple[int, str] | None = None, limit: int = 50) -> InvalidLinks:
    """The tenants whose link is invalid, those with most jobs first. `after` is what the page before gave."""
    jobs, tenant = after or (_MOST, "")
    rows = connection.execute(_LINKS, {"jobs": jobs, "tenant": tenant, "limit": limit + 1}).mappings().all()
    links = [InvalidLink(**{name: value for name, value in row.items() if name != "tenants"}) for row in rows[:limit]]
    following = (links[-1].jobs, links[-1].external_tenant_id) if len(rows) > limit else None
    return InvalidLinks(links, rows[0]["tenants"] if rows else 0, following)
