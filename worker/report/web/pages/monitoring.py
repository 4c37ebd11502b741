"""Endpoints for monitoring: liveness, readiness, metrics and the scaling signal."""

from __future__ import annotations

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, PlainTextResponse, Response

from worker.errors import SchemaMismatch
from worker.fleet.reading import LedgerGauges, as_data
from worker.ledger.migrate import require_suitable
from worker.report.web.request_context import RequestContext
from worker.telemetry.metrics.exposition import render
from worker.telemetry.metrics.registry import enable_metrics

log = structlog.get_logger(__name__)


def healthz(_context: RequestContext) -> Response:
    """Liveness: the process responds."""
    return PlainTextResponse("ok\n")


def readyz(context: RequestContext) -> Response:
    """Readiness: the database responds, its schema is compatible, and operations run.

    Details go to the log only: this endpoint is public.
    """
    try:
        require_suitable(context.report.engine)
    except SchemaMismatch as error:
        log.warning("not_ready", why=str(error))
        return PlainTextResponse("the database's schema is not compatible with this code\n", 503)
    except SQLAlchemyError as error:
        log.warning("not_ready", why=type(error).__name__)
        return PlainTextResponse("the database cannot be reached\n", 503)
    if problem := context.report.runner.problem:
        log.warning("not_ready", why=problem)
        return PlainTextResponse("replays and discards cannot run: the database rejects them\n", 503)
    return PlainTextResponse("ready\n")


def metrics(context: RequestContext) -> Response:
    """Prometheus metrics: the fleet's state from the ledger, and this process's own measurements."""
    collectors = [enable_metrics(), LedgerGauges(context.report.fleet)]
    body, content_type = render(collectors, context.request.headers.get("accept"))
    return Response(body, headers={"Content-Type": content_type})


def scaling(context: RequestContext) -> Response:
    """How many workers are useful now, and why; for autoscalers."""
    try:
        fleet = context.report.fleet.read()
    except SQLAlchemyError as error:
        log.warning("scaling_without_ledger", error=type(error).__name__)
        return JSONResponse({"error": "the database cannot be reached"}, 503)
    return JSONResponse(as_data(fleet))
