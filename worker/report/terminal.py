"""Output for people: rich tables in a terminal, or plain aligned lines in a pipe or file."""

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
    """A column's heading and layout."""

    heading: str
    right: bool = False
    whole: bool = False
    """Never wrap the cells, however narrow the terminal (an id to be copied)."""
    share: int | None = None
    """Its share of the remaining width; None: as wide as its cells need."""


class Screen:
    """One output stream. Text is printed literally, without markup."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self.is_terminal = self._stream.isatty()
        self._console = Console(file=self._stream, markup=False, emoji=False, highlight=False)

    @property
    def width(self) -> int:
        """The terminal's width in characters; meaningless in a pipe."""
        return self._console.width

    def line(self, text: str = "", *, style: str = "") -> None:
        """Print a line; a terminal wraps it at words and applies the style."""
        self.styled((text, style))

    def styled(self, *parts: tuple[str, str]) -> None:
        """Print a line of parts, each with its own style."""
        if self.is_terminal:
            self._console.print(Text.assemble(*parts))
        else:
            self._stream.write("".join(text for text, _ in parts) + "\n")

    def facts(self, pairs: Iterable[tuple[str, str]], *, indent: int = 2) -> None:
        """Print names and values in two columns."""
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
        """Print a table; `ruled` draws lines between rows in a terminal (for cells with several lines).

        In plain output the last column is not padded, so that long texts fit.
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
    """Make a stream escape characters that its encoding lacks, instead of failing in the middle of a report."""
    with contextlib.suppress(AttributeError):  # a test double without reconfigure accepts any text
        stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]  # TextIOWrapper's, not TextIO's


def _padded(text: str, width: int, *, right: bool = False) -> str:
    """Pad by display width: a Japanese character takes two columns."""
    padding = " " * (width - cell_len(text))
    return padding + text if right else text + padding
