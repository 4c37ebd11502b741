"""Options and progress display that several commands share."""

from __future__ import annotations

import getpass
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from worker.case.codec import check_text
from worker.errors import InvalidCase
from worker.ledger.queries import FailureFilter
from worker.ledger.states import Reason
from worker.report.formatting import parse_age
from worker.settings import Settings

_AMOUNT = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,4})?")
F = TypeVar("F", bound=Callable[..., Any])


class Since(click.ParamType[timedelta]):
    """How far to look back."""

    name = "since"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Parse the duration."""
        if isinstance(value, timedelta):
            return value
        try:
            return parse_age(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Amount(click.ParamType[Decimal]):
    """An exact amount of money."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """Parse the number."""
        if isinstance(value, Decimal):
            return value
        if not _AMOUNT.fullmatch(value):
            self.fail("should be a plain number such as 1250 or 1250.50", param, ctx)
        return Decimal(value)


class Words(click.ParamType[str]):
    """Non-empty text that PostgreSQL can store."""

    name = "text"

    def __init__(self, longest: int) -> None:
        self._longest = longest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the text and strip surrounding white space."""
        text = str(value).strip()
        if not text:
            self.fail("should not be empty", param, ctx)
        if len(text) > self._longest:
            self.fail(f"should have at most {self._longest} characters", param, ctx)
        try:
            check_text(text, param.human_readable_name if param else "text")
        except InvalidCase as error:
            self.fail(error.problem, param, ctx)
        return text


def which_failures(command: F) -> F:
    """Add the options that select open failures; a failure must match all that are given."""
    for option in (
        click.option("--cause", type=click.UUID, metavar="KEY", help="Only this group, by its key in --format json."),
        click.option(
            "--text",
            type=Words(200),
            metavar="WORDS",
            help="Only messages in which each of these words begins a word.",
        ),
        click.option("--reference", type=Words(1000), metavar="REF", help="Only this creditorReference."),
        click.option(
            "--currency",
            type=Words(3),
            callback=lambda _ctx, _param, code: code and code.upper(),  # the ledger's are in capitals
            metavar="CODE",
            help="Only amounts in this currency.",
        ),
        click.option("--max-amount", type=Amount(), metavar="N", help="Only amounts up to this one."),
        click.option("--min-amount", type=Amount(), metavar="N", help="Only amounts from this one on."),
        click.option("--status", type=click.IntRange(100, 999), metavar="N", help="Only this HTTP status."),
        click.option("--type", "error_type", type=Words(4000), metavar="TYPE", help="Only this error type of the API."),
        click.option(
            "--older-than", type=Since(), metavar="AGE", help="Only what failed longer ago than this: 30m, 12h, 7d, 2w."
        ),
        click.option(
            "--since", type=Since(), metavar="AGE", help="Only what failed within this time: 30m, 12h, 7d, 2w."
        ),
        click.option("--invalid-links", is_flag=True, help="Only jobs whose client link is invalid."),
        click.option(
            "--reason",
            type=click.Choice([reason.value for reason in Reason]),
            metavar="REASON",
            help=f"Only this reason: {', '.join(Reason)}.",
        ),
        click.option("--tenant", type=Words(255), metavar="TENANT", help="Only this externalTenantId."),
    ):
        command = option(command)
    return command


def filter_of(*, status: int | None, **parts: Any) -> FailureFilter:
    """Build the filter from those options."""
    return FailureFilter(http_status=status, **parts)


def warn_about_encrypted_fields(settings: Settings, wanted: FailureFilter) -> None:
    """Warn on stderr if the filter uses a field that these settings keep encrypted."""
    protection = settings.protection
    names = ["--reference"] if wanted.reference is not None and protection.hides_reference else []
    amounts = (wanted.min_amount, wanted.max_amount, wanted.currency)
    if protection.hides_amount and any(part is not None for part in amounts):
        names.append("--min-amount, --max-amount or --currency")
    if names:
        click.echo(
            f"case-worker: encrypted cases are not found by {' and '.join(names)} "
            "(CASE_PLAINTEXT_FIELDS would keep it readable)",
            err=True,
        )


as_actor = click.option("--as", "actor", type=Words(255), metavar="NAME", help="Who acts. Default: the OS user.")
with_note = click.option("--note", type=Words(2000), metavar="TEXT", help="Why, for the audit log.")


def os_user() -> str:
    """The user according to the operating system. Environment variables are not trusted."""
    try:
        import pwd  # noqa: PLC0415 - not on Windows

        return pwd.getpwuid(os.getuid()).pw_name
    except ImportError:
        return getpass.getuser()
    except KeyError:  # containers often run as a user id without a name
        return f"uid {os.getuid()}"


def command_line_channel() -> dict[str, str]:
    """The channel of an action, for the audit log. It includes the OS user, even if --as names another actor."""
    return {"door": "command line", "os_user": os_user()}


#: Seconds between two lines without a terminal.
LINE_EVERY = 10.0

#: Called with the amount done so far and a short description.
Tell = Callable[[int, str], None]


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Tell]:
    """Show progress towards `total` (None: unknown)."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(what, total)
        return
    columns = (
        (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[words]}"),
        )
        if total
        else (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.fields[words]}"))
    )
    # The bar disappears at the end; the command's summary stays.
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total, words="")
        yield lambda done, words: bar.update(task, completed=done, words=words)


def _lines(what: str, total: int | None) -> Tell:
    last = time.monotonic()

    def tell(done: int, words: str) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            share = f"{done * 100 // total} % " if total else ""
            click.echo(f"{what}: {share}{words}".rstrip(), err=True)

    return tell
