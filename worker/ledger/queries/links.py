"""Tenants with an invalid client link, and the status of Debitura's webhooks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class InvalidLink:
    """One tenant with an invalid client link."""

    external_tenant_id: str
    jobs: int
    """Dead and held jobs that wait for the link."""
    held: int
    """How many of them are held: not attempted yet, and released when the link is valid."""
    amounts: dict[str, str]
    """Their sums by currency as plain decimal numbers; `?` for an unknown currency. Ordered by number of jobs."""
    without_amount: int
    """Jobs with an unknown amount, which are in none of the sums."""
    since: datetime
    """When the first of these jobs died."""
    last_second_unauthorized: datetime | None
    """When a fresh token was last rejected for these jobs; None if no link existed to mint one."""
    last_submitted: datetime | None
    """When the API last accepted a case of this tenant; None if never."""


@dataclass(frozen=True, slots=True)
class InvalidLinks:
    """A page of tenants, those with the most jobs first."""

    links: list[InvalidLink]
    total: int
    """The total number of tenants."""
    after: tuple[int, str] | None
    """`after` for the next page; None on the last page."""


_LINKS = text(
    """
    WITH behind AS (
        SELECT j.external_tenant_id AS tenant, j.currency, j.amount, d.created_at, d.reason
        FROM dead_letters d JOIN jobs j ON j.id = d.job_id AND j.state = 'dead'
        WHERE d.resolved_at IS NULL AND d.invalid_client_link
        UNION ALL
        SELECT external_tenant_id, currency, amount, NULL, NULL FROM jobs WHERE state = 'held'
    ), parts AS (
        SELECT tenant, currency, count(*) AS jobs, count(*) FILTER (WHERE reason IS NULL) AS held,
               count(amount) AS known, sum(amount) AS total, min(created_at) AS since,
               max(created_at) FILTER (WHERE reason = 'second_unauthorized') AS last_second_unauthorized
        FROM behind
        WHERE CAST(:search AS text) IS NULL OR strpos(lower(tenant), lower(:search)) > 0
        GROUP BY 1, 2
    ), tenants AS (
        SELECT tenant, sum(jobs)::bigint AS jobs, sum(held)::bigint AS held,
               (sum(jobs) - sum(known))::bigint AS without_amount,
               COALESCE(min(since), now()) AS since, max(last_second_unauthorized) AS last_second_unauthorized,
               count(*) OVER () AS tenants
        FROM parts GROUP BY tenant
    ), page AS (
        SELECT * FROM tenants WHERE (-jobs, tenant) > (-CAST(:jobs AS bigint), CAST(:tenant AS text))
        ORDER BY -jobs, tenant LIMIT :limit
    )
    SELECT tenant AS external_tenant_id, jobs, held,
           COALESCE((SELECT json_object_agg(COALESCE(p.currency, '?'), p.total::text ORDER BY p.known DESC, p.currency)
                     FROM parts p WHERE p.tenant = page.tenant AND p.known > 0), CAST('{}' AS json)) AS amounts,
           without_amount, since, last_second_unauthorized,
           (SELECT s.finalized_at FROM jobs s WHERE s.state = 'submitted' AND s.external_tenant_id = page.tenant
            ORDER BY s.external_tenant_id DESC, s.finalized_at DESC LIMIT 1) AS last_submitted, tenants
    FROM page ORDER BY -jobs, tenant
    """
)
_MOST = 2**62
_REFUSED = text(
    """
    SELECT EXISTS (SELECT FROM jobs j JOIN dead_letters d ON d.job_id = j.id AND d.resolved_at IS NULL
                   WHERE j.state = 'dead' AND j.external_tenant_id = :tenant AND d.reason = 'second_unauthorized')
    """
)


def invalid_links(
    connection: Connection, *, after: tuple[int, str] | None = None, search: str | None = None, limit: int = 50
) -> InvalidLinks:
    """Tenants with an invalid link, those with the most jobs first. `after` comes from the previous page.

    `search` selects ids that contain this text, ignoring case.
    """
    jobs, tenant = after or (_MOST, "")
    parameters = {"jobs": jobs, "tenant": tenant, "search": search or None, "limit": limit + 1}
    rows = connection.execute(_LINKS, parameters).mappings().all()
    links = [InvalidLink(**{name: value for name, value in row.items() if name != "tenants"}) for row in rows[:limit]]
    following = (links[-1].jobs, links[-1].external_tenant_id) if len(rows) > limit else None
    return InvalidLinks(links, rows[0]["tenants"] if rows else 0, following)


def refused_tokens(connection: Connection, tenant: str) -> bool:
    """Whether jobs of the tenant failed because even a fresh token was rejected."""
    return bool(connection.execute(_REFUSED, {"tenant": tenant}).scalar_one())


#: Days covered by the counts.
DAYS = 30


@dataclass(frozen=True, slots=True)
class WebhookStatus:
    """Received and unprocessed webhook events."""

    received: dict[str, int]
    """By event name, over the last DAYS; `other` for undocumented names."""
    unworked: int
    """Events not processed yet: just received, or no `case-worker web` is running."""


def webhook_status(connection: Connection) -> WebhookStatus:
    """Count the received and the unprocessed events."""
    counts = connection.execute(
        text(
            "SELECT event, sum(received)::bigint AS received FROM webhook_counts"
            " WHERE day > (now() AT TIME ZONE 'UTC')::date - CAST(:days AS int) GROUP BY 1 ORDER BY 1"
        ),
        {"days": DAYS},
    )
    received = {row.event: row.received for row in counts}
    unworked = connection.execute(text("SELECT count(*) FROM webhook_events WHERE worked_at IS NULL")).scalar_one()
    return WebhookStatus(received, unworked)
