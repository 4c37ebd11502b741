"""Show progress on stderr: a bar in a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

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
