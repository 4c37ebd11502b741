"""For machines: is the process alive, can it serve, how many jobs are where."""

from __future__ import annotations

import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from starlette.responses import PlainTextResponse, Response

from worker.errors import SchemaMismatch
from worker.ledger import queries
from worker.ledger.database import transaction
from worker.ledger.migrate import require_suitable
from worker.ledger.writer.days import close_days
from worker.report.web.asking import Ask

log = structlog.get_logger(__name__)


def healthz(_ask: Ask) -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n")


def readyz(ask: Ask) -> Response:
    """The database answers, and its schema suits this code. What is wrong with it is in the log, not for passers-by."""
    try:
        require_suitable(ask.report.engine)
    except SchemaMismatch as error:
        log.warning("not_ready", why=str(error))
        return PlainTextResponse("the database's schema does not suit this code\n", 503)
    except SQLAlchemyError as error:
        log.warning("not_ready", why=type(error).__name__)
        return PlainTextResponse("the database cannot be reached\n", 503)
    return PlainTextResponse("ready\n")


def metrics(ask: Ask) -> Response:
    """Jobs by state and open dead letters by reason, in the text format of Prometheus."""
    _close_days(ask)
    with ask.reading() as connection:
        found = queries.counts(connection)
    lines = ["# HELP case_worker_jobs Jobs by state.", "# TYPE case_worker_jobs gauge"]
    lines += [f'case_worker_jobs{{state="{state}"}} {count}' for state, count in found.jobs.items()]
    lines += [
        "# HELP case_worker_open_dead_letters Failures that need a person, by reason.",
        "# TYPE case_worker_open_dead_letters gauge",
    ]
    lines += [f'case_worker_open_dead_letters{{reason="{name}"}} {n}' for name, n in found.by_reason.items()]
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _close_days(ask: Ask) -> None:
    """Count the days that are over, once; a page that may not write counts them anew each time."""
    try:
        with transaction(ask.report.engine) as connection:
            close_days(connection)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) not in {"42501", "25006"}:  # no right to write; a read-only replica
            raise
