"""For machines: is the process alive, can it serve, how many jobs are where."""

from __future__ import annotations

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, PlainTextResponse, Response

from worker.errors import SchemaMismatch
from worker.fleet.reading import LedgerGauges, as_data
from worker.ledger.migrate import require_suitable
from worker.report.web.asking import Ask
from worker.telemetry.metrics.exposition import write_down
from worker.telemetry.metrics.registry import open_book

log = structlog.get_logger(__name__)


def healthz(_ask: Ask) -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n")


def readyz(ask: Ask) -> Response:
    """The database answers, its schema suits this code, and operations are carried out.

    What is wrong with it is in the log, not for passers-by.
    """
    try:
        require_suitable(ask.report.engine)
    except SchemaMismatch as error:
        log.warning("not_ready", why=str(error))
        return PlainTextResponse("the database's schema does not suit this code\n", 503)
    except SQLAlchemyError as error:
        log.warning("not_ready", why=type(error).__name__)
        return PlainTextResponse("the database cannot be reached\n", 503)
    if trouble := ask.report.runner.trouble:
        log.warning("not_ready", why=trouble)
        return PlainTextResponse("replays and discards cannot be carried out: the database refuses it\n", 503)
    return PlainTextResponse("ready\n")


def metrics(ask: Ask) -> Response:
    """What the ledger says of the fleet, and what this process has measured, for Prometheus."""
    collectors = [open_book(), LedgerGauges(ask.report.fleet)]
    body, content_type = write_down(collectors, ask.request.headers.get("accept"))
    return Response(body, headers={"Content-Type": content_type})


def scaling(ask: Ask) -> Response:
    """How many workers are useful now, and why, for autoscalers."""
    try:
        fleet = ask.report.fleet.read()
    except SQLAlchemyError as error:
        log.warning("scaling_without_ledger", error=type(error).__name__)
        return JSONResponse({"error": "the database cannot be reached"}, 503)
    return JSONResponse(as_data(fleet))
