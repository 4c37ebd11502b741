"""The list of open failures, with a filter and pages."""

from __future__ import annotations

from starlette.responses import Response

from worker.ledger import queries
from worker.ledger.queries import FailurePage, Selected
from worker.report.advice import what_to_do
from worker.report.web import addresses
from worker.report.web.pages.front import sums
from worker.report.web.request_context import RequestContext

ROWS = 50
_HIGHEST = 2**63 - 1


def jobs(context: RequestContext) -> Response:
    """One page of the matching failures."""
    wanted = addresses.read_filter(context.query)
    with context.snapshot() as connection:
        menus = context.report.menus.read(connection)
        if wanted.problems:
            page, found = FailurePage([], None, None), None
        else:
            after, before = _number(context.query.get("after")), _number(context.query.get("before_id"))
            page = queries.failure_page(connection, wanted.filter, after=after, before=before, limit=ROWS)
            found = queries.selected(connection, wanted.filter)
    # All failures of a cause have the same reason and type, so the heading can name it.
    cause = page.failures[0] if page.failures and wanted.filter.cause else None
    return context.page(
        "jobs.html", 400 if wanted.problems else 200, wanted=wanted, menus=menus, page=page, found=found,
        count=_count(found), amounts=sums(found.amounts) if found else [], cause=cause,
        todo=what_to_do(cause.reason, cause.error_type) if cause else None, solution=_solution(page),
    )  # fmt: skip


def _solution(page: FailurePage) -> str | None:
    """The link that resolves all of these failures, if they share one and the list has a single page."""
    urls = {failure.solution_url for failure in page.failures}
    return urls.pop() if len(urls) == 1 and page.before is None and page.after is None else None


def _count(found: Selected | None) -> int:
    return found.jobs + found.messages if found else 0


def _number(text: str | None) -> int | None:
    if not text or not (text.isascii() and text.isdecimal()):
        return None
    return min(int(text[:20]), _HIGHEST)
