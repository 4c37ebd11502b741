"""Output for people: rich tables in a terminal; in a pipe or a file plain lines, aligned, uncut and without colour."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.box import HORIZONTALS, SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Column:
    """A column's heading and how its cells are set."""

    heading: str
    right: bool = False
    whole: bool = False
    """Never broken over two lines, however narrow the terminal (an id to be copied)."""
    share: int | None = None
    """How much of the width that is left it takes, next to the others; None: what its cells need."""


class Screen:
    """One output stream. Every text is shown as it is: nothing in it is taken for markup."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self.is_terminal = self._stream.isatty()
        self._console = Console(file=self._stream, markup=False, emoji=False, highlight=False)

    @property
    def width(self) -> int:
        """Characters in a line of the terminal; of no meaning in a pipe."""
        return self._console.width

    def line(self, text: str = "", *, style: str = "") -> None:
        """One line; in a terminal it is broken at words, and in that style."""
        self.styled((text, style))

    def styled(self, *parts: tuple[str, str]) -> None:
        """One line of several parts, each with its style; in a terminal it is broken at words."""
        if self.is_terminal:
            self._console.print(Text.assemble(*parts))
        else:
            self._stream.write("".join(text for text, _ in parts) + "\n")

    def facts(self, pairs: Iterable[tuple[str, str]], *, indent: int = 2) -> None:
        """Names and values beneath each other."""
        listed = list(pairs)
        width = max((cell_len(name) for name, _ in listed), default=0)
        if not self.is_terminal:
            for name, value in listed:
                self._stream.write(f"{' ' * indent}{_padded(name, width)}  {value}".rstrip() + "\n")
            return
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column()
        for name, value in listed:
            grid.add_row(Text(" " * indent + name, style="dim"), Text(value))
        self._console.print(grid)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]], *, ruled: bool = False) -> None:
        """A table, with rules between its rows in a terminal if wanted (for cells of several lines).

        The last column of a plain one is not padded, so that long texts stand there uncut.
        """
        if self.is_terminal:
            self._rich_table(columns, rows, ruled=ruled)
            return
        lines = [[column.heading for column in columns], *rows]
        widths = [max(cell_len(line[index]) for line in lines) for index in range(len(columns))]
        for line in lines:
            cells = [
                _padded(cell, width, right=column.right)
                for cell, width, column in zip(line, widths, columns, strict=True)
            ]
            self._stream.write("  ".join(cells).rstrip() + "\n")

    def _rich_table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]], *, ruled: bool) -> None:
        table = Table(
            box=HORIZONTALS if ruled else SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False, show_lines=ruled
        )
        for index, column in enumerate(columns):
            needed = max((cell_len(line) for row in rows for line in row[index].split("\n")), default=0)
            table.add_column(
                column.heading,
                justify="right" if column.right else "left",
                no_wrap=column.whole,
                ratio=column.share,
                overflow="fold",
                min_width=needed if column.whole else None,
            )
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self._console.print(table)


def use_any_encoding(stream: TextIO) -> None:
    """Make a stream show characters that its encoding lacks as escapes, rather than fail in the middle of a report."""
    with contextlib.suppress(AttributeError):  # a stand-in without reconfigure takes any text anyway
        stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]  # TextIOWrapper's, not TextIO's


def _padded(text: str, width: int, *, right: bool = False) -> str:
    """Padded by the width on the screen: a Japanese character takes two places."""
    padding = " " * (width - cell_len(text))
    return padding + text if right else text + padding
