"""`case-worker enqueue`: read cases from a file or a pipe into the ledger."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

import click
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from worker.case.protection import Protection
from worker.cli.group import DONE, WITH_FAILURES
from worker.cli.ledger import open_ledger
from worker.cli.options import Tell, progress
from worker.cli.server_errors import describe_database_error
from worker.errors import IdempotencyKeyReused, InvalidCase
from worker.intake.enqueue import insert, to_look_up_first
from worker.intake.ndjson import BadLine, GoodLine, read_lines, reason_of
from worker.ledger.database import transaction
from worker.report.formatting import counted
from worker.telemetry.tracing import start_tracing, stop_tracing

#: The most lines in one transaction.
CHUNK = 200


@dataclass(slots=True)
class Intake:
    """The progress and result of reading a file."""

    enqueued: int = 0
    existing: int = 0
    bad: list[BadLine] = field(default_factory=list)
    lines_in: int = 0
    """Every good line up to this one is committed."""
    lines_unsure: int = 0
    """Lines after `lines_in` up to this one were in a transaction when the command was interrupted."""
    stopped: str | None = None
    """Why it ended before the end of the file."""


@click.command(short_help="Enqueue the cases of an NDJSON file or pipe.")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--look-up-first",
    is_flag=True,
    help="For cases that a restored ledger may have lost: each is looked up by its creditorReference before it is"
    " sent. A case without one is a bad line.",
)
def enqueue(*, file: BinaryIO, look_up_first: bool) -> int:
    """Enqueue the cases of an NDJSON FILE (`-`: standard input), one a line.

    \b
    {"externalTenantId": "acme-42", "case": {…}, "idempotencyKey": "…", "priority": "high"}

    The last two are optional. The default key is the case's creditorReference (or, without one, the case itself), so
    that enqueueing the same file twice creates one job for each case. `case` is the body of POST /cases and is sent
    unchanged, with exact numbers. Bad lines are listed at the end and do not stop the others.
    """
    settings, engine = open_ledger()
    start_tracing(os.environ)
    intake = Intake()
    with progress("enqueueing", _size(file)) as tell:
        try:
            _read_file(engine, settings.protection, file, intake, tell, look_up_first=look_up_first)
        except DBAPIError as error:
            intake.stopped = describe_database_error(error)
        except KeyboardInterrupt:
            intake.stopped = "interrupted"
        except OSError as error:
            intake.stopped = f"reading the file failed: {error.strerror}"
        finally:
            stop_tracing()
    return _sum_up(intake)


def _read_file(
    engine: Engine, protection: Protection, file: BinaryIO, intake: Intake, tell: Tell, *, look_up_first: bool
) -> None:
    lines = read_lines(file)
    if look_up_first:
        lines = map(_marked, lines)
    while chunk := list(islice(lines, CHUNK)):
        # Read the chunk before its transaction begins: a slow pipe must not keep a transaction open.
        last = chunk[-1].number
        intake.bad += [line for line in chunk if isinstance(line, BadLine)]
        good = [line for line in chunk if isinstance(line, GoodLine)]
        if good:
            intake.lines_unsure = last
            enqueued, existing, reused = _insert(engine, protection, good)
            intake.enqueued += enqueued
            intake.existing += existing
            intake.bad += reused
        intake.lines_in = last
        done = intake.enqueued + intake.existing
        tell(_position(file), f"{counted(done, 'case')}, {len(intake.bad)} bad")


def _insert(engine: Engine, protection: Protection, good: list[GoodLine]) -> tuple[int, int, list[BadLine]]:
    """One transaction. Returns how many jobs are new, how many existed, and lines whose key belongs to another case."""
    enqueued = existing = 0
    reused: list[BadLine] = []
    with transaction(engine) as connection:
        for line in good:
            try:
                created = insert(connection, line.job, protection).created
            except IdempotencyKeyReused as error:
                reason = (
                    f"its idempotency key (or creditorReference) belongs to job {error.job_id}, which has another"
                    " case; a different case needs its own idempotencyKey"
                )
                reused.append(BadLine(line.number, reason))
            else:
                enqueued += created
                existing += not created
    return enqueued, existing, reused


def _marked(line: GoodLine | BadLine) -> GoodLine | BadLine:
    """The line with its job marked for a look-up before sending."""
    if isinstance(line, BadLine):
        return line
    try:
        return GoodLine(line.number, to_look_up_first(line.job))
    except InvalidCase as error:
        return BadLine(line.number, reason_of(error))


def _sum_up(intake: Intake) -> int:
    for line in sorted(intake.bad, key=lambda bad: bad.number):
        click.echo(f"line {line.number}: {line.reason}", err=True)
    if intake.stopped:
        unsure = (
            f"Lines {intake.lines_in + 1} to {intake.lines_unsure} may or may not be enqueued. "
            if intake.lines_unsure > intake.lines_in
            else ""
        )
        click.echo(
            f"case-worker: {intake.stopped}. The good lines up to line {intake.lines_in} are enqueued. {unsure}"
            "Enqueue the same file again: no case is enqueued twice.",
            err=True,
        )
    click.echo(f"{intake.enqueued} enqueued, {intake.existing} already there, {len(intake.bad)} bad")
    return WITH_FAILURES if intake.bad or intake.stopped else DONE


def _size(file: BinaryIO) -> int | None:
    """The size in bytes of a regular file; None for anything else."""
    try:
        facts = os.fstat(file.fileno())
    except (OSError, AttributeError):
        return None
    return facts.st_size if stat.S_ISREG(facts.st_mode) else None


def _position(file: BinaryIO) -> int:
    try:
        return file.tell()
    except OSError:
        return 0
