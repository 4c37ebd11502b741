"""What a job's page asks while the job is under way: has anything happened?"""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from worker.ledger.queries.story import mark_of
from worker.report.web.asking import Ask
from worker.report.web.pages.job import job_id


def follow(ask: Ask) -> Response:
    """The job's state and number of requests, as one mark that changes with them. Raises JobNotFound."""
    with ask.reading() as connection:
        return JSONResponse({"mark": mark_of(connection, job_id(ask))})
