"""Progress that suits where it is shown: a bar in a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

#: Seconds between two lines at least, where there is no bar.
PAUSE = 1.0


class Progress:
    """How far we are. Call `show` as often as you like."""

    def __init__(self, out: Console, what: str) -> None:
        self._out = out
        self._what = what
        self._bar = Bar(TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=out)
        self._task = self._bar.add_task(what, total=None)
        self._said: tuple[int, int] | None = None
        self._said_at = 0.0

    def __enter__(self) -> Self:
        if self._out.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._out.is_terminal:
            self._bar.stop()

    def show(self, done: int, total: int) -> None:
        """So many of so many are done."""
        self._bar.update(self._task, completed=done, total=total)
        now = time.monotonic()
        finished = total and done == total
        if self._out.is_terminal or self._said == (done, total) or (now < self._said_at + PAUSE and not finished):
            return
        self._said, self._said_at = (done, total), now
        self._out.print(f"{self._what}: {done} of {total}")
