"""The report as a file, with the same filter as the page it was asked for on; and an operation's result."""

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
from worker.report.web.asking import Ask
from worker.report.web.audit_addresses import read_audit_filter
from worker.report.web.pages.progress import HIGHEST

#: Characters that are sent at a time, and bytes of a file that stay in memory.
PIECE, IN_MEMORY = 64 * 1024, 4 * 1024 * 1024
_AUDIT = ("at", "actor", "action", "what", "job_id", "note", "detail")
_RESULT = tuple(field.name for field in fields(Item))


def as_csv(ask: Ask) -> Response:
    """The failures for spreadsheets; no cell is taken for a formula."""
    wanted = _wanted(ask)
    return _file(ask, "failures.csv", lambda out, to: write_csv(out, queries.failures(to, wanted)))


def as_json(ask: Ask) -> Response:
    """The failures and their causes for programs."""
    wanted = _wanted(ask)
    with ask.reading() as connection:
        groups = queries.groups(connection, wanted, limit=None).groups

    def write(out: TextIO, to: Connection) -> None:
        failures = queries.failures(to, wanted)
        write_json(out, now=datetime.now(UTC), wanted=wanted, groups=groups, failures=failures)

    return _file(ask, "failures.json", write)


def result(ask: Ask) -> Response:
    """What became of each failure that an operation selected. Raises OperationNotFound."""
    number = min(ask.request.path_params["number"], HIGHEST)
    with ask.reading() as connection:
        queries.operation(connection, number)

    def write(out: TextIO, to: Connection) -> None:
        writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(_RESULT)
        for item in queries.operation_items(to, number):
            writer.writerow([cell(getattr(item, name)) for name in _RESULT])

    return _file(ask, f"operation-{number}.csv", write)


def audit_csv(ask: Ask) -> Response:
    """The audit log's entries that fit, newest first; no cell is taken for a formula."""
    wanted = read_audit_filter(ask.query)
    if wanted.problems:
        raise HTTPException(400)

    def write(out: TextIO, to: Connection) -> None:
        writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(_AUDIT)
        for act in all_acts(to, wanted.filter):
            detail = json.dumps(act.detail, ensure_ascii=False)
            row = (act.at, act.actor, act.action, describe(act), act.job_id, act.note, detail)
            writer.writerow([cell(value) for value in row])

    return _file(ask, "audit.csv", write)


def _wanted(ask: Ask) -> FailureFilter:
    wanted = addresses.read_filter(ask.query)
    if wanted.problems:
        raise HTTPException(400)
    return wanted.filter


def _file(ask: Ask, name: str, write: Callable[[TextIO, Connection], object]) -> Response:
    """Write it whole, then send it: no connection to the ledger waits for a slow reader, and none is sent in part."""
    file = tempfile.SpooledTemporaryFile(IN_MEMORY, "w+", encoding="utf-8", newline="")  # noqa: SIM115 - closed below
    try:
        if name.endswith(".csv"):
            # Excel takes a file without this mark for one in the old code page, and shows Müller as MÃ¼ller.
            file.write("\ufeff")
        # Page by page, so that no transaction stays open as long as a big file takes.
        with ask.report.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            write(cast(TextIO, file), connection)  # it acts as the TextIO it holds
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
