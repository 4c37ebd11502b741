"""Downloads: the report and the audit log with the page's filter, and an operation's result."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from typing import TextIO, cast

from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from worker.ledger import queries
from worker.ledger.queries import FailureFilter, Item
from worker.ledger.queries.audit import all_acts
from worker.report.audit_descriptions import describe
from worker.report.export import cell, write_csv, write_json
from worker.report.web import addresses
from worker.report.web.audit_addresses import read_audit_filter
from worker.report.web.pages.progress import HIGHEST
from worker.report.web.request_context import RequestContext

#: Characters sent in one piece, and bytes of a file held in memory.
PIECE, IN_MEMORY = 64 * 1024, 4 * 1024 * 1024
_AUDIT = ("at", "actor", "action", "what", "job_id", "note", "detail")
_RESULT = tuple(field.name for field in fields(Item))


def as_csv(context: RequestContext) -> Response:
    """The failures as CSV for spreadsheets; no cell runs as a formula."""
    wanted = _wanted(context)
    return _file(context, "failures.csv", lambda out, to: write_csv(out, queries.failures(to, wanted)))


def as_json(context: RequestContext) -> Response:
    """The failures and their causes as JSON for programs."""
    wanted = _wanted(context)
    with context.snapshot() as connection:
        groups = queries.groups(connection, wanted, limit=None).groups

    def write(out: TextIO, to: Connection) -> None:
        failures = queries.failures(to, wanted)
        write_json(out, now=datetime.now(UTC), wanted=wanted, groups=groups, failures=failures)

    return _file(context, "failures.json", write)


def result(context: RequestContext) -> Response:
    """The result of each failure in an operation, as CSV. Raises OperationNotFound."""
    number = min(context.request.path_params["number"], HIGHEST)
    with context.snapshot() as connection:
        queries.operation(connection, number)

    def write(out: TextIO, to: Connection) -> None:
        writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(_RESULT)
        for item in queries.operation_items(to, number):
            writer.writerow([cell(getattr(item, name)) for name in _RESULT])

    return _file(context, f"operation-{number}.csv", write)


def audit_csv(context: RequestContext) -> Response:
    """The matching audit entries as CSV, newest first; no cell runs as a formula."""
    wanted = read_audit_filter(context.query)
    if wanted.problems:
        raise HTTPException(400)

    def write(out: TextIO, to: Connection) -> None:
        writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(_AUDIT)
        for act in all_acts(to, wanted.filter):
            detail = json.dumps(act.detail, ensure_ascii=False)
            row = (act.at, act.actor, act.action, describe(act), act.job_id, act.note, detail)
            writer.writerow([cell(value) for value in row])

    return _file(context, "audit.csv", write)


def _wanted(context: RequestContext) -> FailureFilter:
    wanted = addresses.read_filter(context.query)
    if wanted.problems:
        raise HTTPException(400)
    return wanted.filter


def _file(context: RequestContext, name: str, write: Callable[[TextIO, Connection], object]) -> Response:
    """Write the whole file, then send it: a slow client blocks no database connection and gets no partial file."""
    file = tempfile.SpooledTemporaryFile(IN_MEMORY, "w+", encoding="utf-8", newline="")  # noqa: SIM115 - closed below
    try:
        if name.endswith(".csv"):
            # Without this byte-order mark, Excel assumes the old code page and shows Müller as MÃ¼ller.
            file.write("\ufeff")
        # Autocommit: no transaction stays open while a large file is written page by page.
        with context.report.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            write(cast(TextIO, file), connection)  # it behaves like the TextIO inside it
    except BaseException:
        file.close()
        raise
    file.seek(0)

    def pieces() -> Iterator[str]:
        with file:
            while piece := file.read(PIECE):
                yield piece

    kind = "text/csv; charset=utf-8" if name.endswith(".csv") else "application/json"
    return StreamingResponse(
        pieces(), media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
