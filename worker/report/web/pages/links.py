"""Tenants with an invalid client link: their waiting jobs, and a check of the link's current state."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from worker.ledger import queries
from worker.ledger.database import transaction
from worker.ledger.queries.links import refused_tokens
from worker.ledger.writer.tenant_links import free_links
from worker.report.client_links import LinkCheck, LinkState, check_link
from worker.report.web.pages.front import sums
from worker.report.web.request_context import RequestContext


def links(context: RequestContext) -> Response:
    """List the tenants, those with the most jobs first."""
    search = context.query.get("tenant", "").replace("\x00", "").strip()[:255]
    return _page(context, context.query.get("after", ""), search, None)


def check(context: RequestContext) -> Response:
    """The same page, with the API's current answer about one tenant's link.

    If the link is valid, release the tenant's held jobs.
    """
    tenant = context.form.get("tenant")
    if not isinstance(tenant, str) or not 1 <= len(tenant) <= 255 or "\x00" in tenant:
        return RedirectResponse("/links", 303)
    checked = check_link(context.report.settings, tenant)
    if checked.state is LinkState.FINE:
        with transaction(context.report.engine) as connection:
            free_links(connection, [tenant])
    return _page(context, context.text("after", 300), context.text("search", 255), checked)


def to_links(_context: RequestContext) -> Response:
    """Redirect a GET on the check's POST-only address to the list."""
    return RedirectResponse("/links", 303)


def _page(context: RequestContext, after: str, search: str, checked: LinkCheck | None) -> Response:
    with context.snapshot() as connection:
        found = queries.invalid_links(connection, after=_place(after), search=search)
        # The link looks valid although its tokens were rejected: suggest a canary.
        canary = checked is not None and refused_tokens(connection, checked.tenant)
    rows = [(link, sums(link.amounts)) for link in found.links]
    following = f"{found.after[0]}:{found.after[1]}" if found.after else None
    return context.page("links.html", rows=rows, total=found.total, after=after, following=following, checked=checked,
                    search=search, canary=canary)  # fmt: skip


def _place(after: str) -> tuple[int, str] | None:
    jobs, _, tenant = after.partition(":")
    if not tenant or "\x00" in tenant or not (jobs.isascii() and jobs.isdecimal() and len(jobs) < 18):
        return None
    return int(jobs), tenant
