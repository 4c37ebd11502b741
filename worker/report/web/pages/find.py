"""The box that finds one job by its reference or id, whether or not it has failed."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from worker.ledger.queries.failures import find_jobs
from worker.report.web.asking import Ask

#: Jobs with the same reference that are listed at most.
ROWS = 50


def find(ask: Ask) -> Response:
    """The job itself if there is one; a list where several clients use the same reference."""
    wanted = ask.query.get("q", "").replace("\x00", "").strip()[:1000]
    if not wanted:
        return RedirectResponse("/jobs", 303)
    with ask.reading() as connection:
        found = find_jobs(connection, wanted, limit=ROWS + 1)
    if len(found) == 1:
        return RedirectResponse(f"/jobs/{found[0].id}", 303)
    return ask.page("find.html", wanted=wanted, found=found[:ROWS], more=len(found) > ROWS)
