"""The open failures one by one, by whatever filter, page by page."""

from __future__ import annotations

from starlette.responses import Response

from worker.ledger import queries
from worker.ledger.queries import FailurePage, Selected
from worker.report.advice import what_to_do
from worker.report.web import addresses
from worker.report.web.asking import Ask
from worker.report.web.pages.front import sums

ROWS = 50
_HIGHEST = 2**63 - 1


def jobs(ask: Ask) -> Response:
    """One page of the failures that fit."""
    wanted = addresses.read_filter(ask.query)
    with ask.reading() as connection:
        menus = ask.report.menus.read(connection)
        if wanted.problems:
            page, found = FailurePage([], None, None), None
        else:
            after, before = _number(ask.query.get("after")), _number(ask.query.get("before_id"))
            page = queries.failure_page(connection, wanted.filter, after=after, before=before, limit=ROWS)
            found = queries.selected(connection, wanted.filter)
    # With a cause in the address, the heading says which: all of its failures have the same reason and type.
    cause = page.failures[0] if page.failures and wanted.filter.cause else None
    return ask.page(
        "jobs.html", 400 if wanted.problems else 200, wanted=wanted, menus=menus, page=page, found=found,
        count=_count(found), amounts=sums(found.amounts) if found else [], cause=cause,
        todo=what_to_do(cause.reason, cause.error_type) if cause else None, solution=_solution(page),
    )  # fmt: skip


def _solution(page: FailurePage) -> str | None:
    """Where all of these failures are cleared, if it is the same page for each, and there are no others."""
    urls = {failure.solution_url for failure in page.failures}
    return urls.pop() if len(urls) == 1 and page.before is None and page.after is None else None


def _count(found: Selected | None) -> int:
    return found.jobs + found.messages if found else 0


def _number(text: str | None) -> int | None:
    if not text or not (text.isascii() and text.isdecimal()):
        return None
    return min(int(text[:20]), _HIGHEST)
