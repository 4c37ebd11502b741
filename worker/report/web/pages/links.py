"""Tenants whose client link is invalid: what waits behind each, and what is wrong with it now."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from worker.ledger import queries
from worker.ledger.queries.links import refused_tokens
from worker.report.client_links import LinkCheck, check_link
from worker.report.web.asking import Ask
from worker.report.web.pages.front import sums


def links(ask: Ask) -> Response:
    """A row per tenant, those with most jobs first."""
    search = ask.query.get("tenant", "").replace("\x00", "").strip()[:255]
    return _page(ask, ask.query.get("after", ""), search, None)


def check(ask: Ask) -> Response:
    """The same page with what the API says of one tenant's link just now."""
    tenant = ask.form.get("tenant")
    if not isinstance(tenant, str) or not 1 <= len(tenant) <= 255 or "\x00" in tenant:
        return RedirectResponse("/links", 303)
    return _page(ask, ask.text("after", 300), ask.text("search", 255), check_link(ask.report.settings, tenant))


def to_links(_ask: Ask) -> Response:
    """A check is asked for by its button; somebody who comes back to its address sees the list."""
    return RedirectResponse("/links", 303)


def _page(ask: Ask, after: str, search: str, checked: LinkCheck | None) -> Response:
    with ask.reading() as connection:
        found = queries.invalid_links(connection, after=_place(after), search=search)
        # A link that looks well although its tokens are refused: one job first will tell.
        canary = checked is not None and refused_tokens(connection, checked.tenant)
    rows = [(link, sums(link.amounts)) for link in found.links]
    following = f"{found.after[0]}:{found.after[1]}" if found.after else None
    return ask.page("links.html", rows=rows, total=found.total, after=after, following=following, checked=checked,
                    search=search, canary=canary)  # fmt: skip


def _place(after: str) -> tuple[int, str] | None:
    jobs, _, tenant = after.partition(":")
    if not tenant or "\x00" in tenant or not (jobs.isascii() and jobs.isdecimal() and len(jobs) < 18):
        return None
    return int(jobs), tenant
