"""`case-worker report`: the failed-job report."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import click

from worker.cli.ledger import open_ledger, page_by_page, snapshot
from worker.cli.options import filter_of, warn_about_encrypted_fields, which_failures
from worker.ledger import queries
from worker.ledger.queries import FailureFilter
from worker.ledger.queries.waiting import fleet_waits
from worker.policy.rate_limit import Pace
from worker.report.export import write_csv, write_json
from worker.report.page import show_report
from worker.report.terminal import Screen
from worker.report.waiting import describe_fleet


@click.command(short_help="List the jobs that need a person, by cause.")
@which_failures
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="`table` for people, `csv` for spreadsheets, `json` for programs.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False),
    default="-",
    metavar="FILE",
    help="Write there; `-` is standard output.",
)
def report(*, form: str, output: str, **which: Any) -> None:
    """List the jobs that need a person, grouped by cause, with what to do about each."""
    wanted = filter_of(**which)
    settings, engine = open_ledger()
    warn_about_encrypted_fields(settings, wanted)
    with snapshot(engine) as connection:
        waits = fleet_waits(connection, Pace.parse(settings.rate_limits))
        found = queries.selected(connection, wanted)
        causes = queries.groups(connection, wanted, limit=None).groups
    with page_by_page(engine) as connection, open_output(output) as out:
        failures = queries.failures(connection, wanted)
        if form == "csv":
            write_csv(out, failures)
        elif form == "json":
            write_json(out, now=datetime.now(UTC), wanted=wanted, groups=causes, failures=failures)
        else:
            held_by = describe_fleet(waits) if waits.holds or waits.unpublished_since else ()
            narrowed = wanted != FailureFilter()
            show_report(Screen(out), found, causes, failures, held_by=held_by, narrowed=narrowed)


@contextlib.contextmanager
def open_output(output: str) -> Iterator[TextIO]:
    """Standard output (`-`), a device or pipe, or a file that is replaced only when the output is complete."""
    path = Path(output)
    if output == "-":
        yield sys.stdout
    elif path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8") as out:
            yield out
    else:
        # A new file is readable by its owner only, because it contains financial data. An existing file keeps its mode.
        mode = path.stat().st_mode if path.exists() else 0o600
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=".report-", delete=False
        ) as out:
            part = Path(out.name)
            try:
                yield out  # type: ignore[misc]  # a wrapper that behaves like the TextIO inside it
                out.close()
                part.chmod(mode)
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
