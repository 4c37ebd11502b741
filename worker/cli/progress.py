"""How far a long command has come, on stderr: a bar in a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

#: Seconds between two lines where there is no terminal.
NOW_AND_THEN = 10.0

#: Called with how much has been done in all, and a few words on it.
Tell = Callable[[int, str], None]


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Tell]:
    """Show progress towards `total` (None: nobody knows how much it will be)."""
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
    # Gone when it is done: the command's summary is what stays.
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total, words="")
        yield lambda done, words: bar.update(task, completed=done, words=words)


def _lines(what: str, total: int | None) -> Tell:
    last = time.monotonic()

    def tell(done: int, words: str) -> None:
        nonlocal last
        if time.monotonic() - last >= NOW_AND_THEN:
            last = time.monotonic()
            share = f"{done * 100 // total} % " if total else ""
            click.echo(f"{what}: {share}{words}".rstrip(), err=True)

    return tell
