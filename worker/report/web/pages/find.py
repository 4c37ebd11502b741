"""Find a job in any state by its reference or id."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from worker.ledger.queries.failures import find_jobs
from worker.report.web.request_context import RequestContext

#: Jobs listed at most.
ROWS = 50


def find(context: RequestContext) -> Response:
    """Redirect to the job if one matches; list them if several tenants use the reference."""
    wanted = context.query.get("q", "").replace("\x00", "").strip()[:1000]
    if not wanted:
        return RedirectResponse("/jobs", 303)
    with context.snapshot() as connection:
        found = find_jobs(connection, wanted, limit=ROWS + 1)
    if len(found) == 1:
        return RedirectResponse(f"/jobs/{found[0].id}", 303)
    return context.page("find.html", wanted=wanted, found=found[:ROWS], more=len(found) > ROWS)
