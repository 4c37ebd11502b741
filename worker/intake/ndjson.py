"""Reading cases from NDJSON, one a line. A line that is wrong is told apart, with the reason, and stops nobody else.

The reasons name members and places, never values: a line is about a person.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from worker.case.codec import read_json
from worker.case.fields import one_line
from worker.errors import InvalidCase
from worker.intake.enqueue import admit
from worker.ledger.writer.arrival import NewJob

#: Bytes of one line at most.
MAX_LINE = 8 * 1024 * 1024
#: The members of a line, and what `admit` calls them.
MEMBERS = {
    "externalTenantId": "external_tenant_id",
    "case": "case",
    "idempotencyKey": "idempotency_key",
    "priority": "priority",
}
PRIORITIES = ("high", "normal", "low")
#: Where a problem is that concerns the line as a whole.
_LINE = "line"
_BOM = b"\xef\xbb\xbf"
#: Characters of a member's name that a reason repeats.
_MAX_NAME = 60


@dataclass(frozen=True, slots=True)
class GoodLine:
    """A line that can be enqueued."""

    number: int
    job: NewJob


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot, and why."""

    number: int
    reason: str


def read_lines(stream: BinaryIO, *, max_line: int = MAX_LINE) -> Iterator[GoodLine | BadLine]:
    """Every line that is not blank, in order. Line numbers begin at 1 and count blank lines, as an editor does."""
    number = 0
    while raw := stream.readline(max_line + 1):
        number += 1
        if len(raw) > max_line:
            _skip_rest(stream, raw)
            yield BadLine(number, f"is longer than {max_line:,} bytes")
            continue
        if number == 1:
            raw = raw.removeprefix(_BOM)
        if raw.strip():
            yield _read(number, raw)


def parse_line(raw: bytes) -> NewJob:
    """One line as a job. Raises InvalidCase."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidCase(f"byte {error.start + 1} is not UTF-8", where=_LINE) from None
    content = read_json(text, where=_LINE)
    _refuse_duplicates(text)
    if not isinstance(content, dict):
        raise InvalidCase(f"should be an object with {', '.join(MEMBERS)}", where=_LINE)
    if unknown := sorted(content.keys() - MEMBERS.keys()):
        names = ", ".join(_name(name) for name in unknown[:5])
        raise InvalidCase(f"unknown; a line has {', '.join(MEMBERS)}", where=names)
    fields = {ours: content.get(theirs) for theirs, ours in MEMBERS.items()}
    priority = "normal" if fields["priority"] is None else fields["priority"]
    if priority not in PRIORITIES:
        # Said here, because `admit` would repeat what stands there instead.
        raise InvalidCase("should be high, normal or low", where="priority")
    return admit(**(fields | {"priority": priority}))


def why(error: InvalidCase) -> str:
    """The reason as the writer of the line knows its members."""
    if error.where == _LINE:
        return one_line(error.problem)
    where = next((theirs for theirs, ours in MEMBERS.items() if ours == error.where), error.where)
    return one_line(f"{where}: {error.problem}")


def _read(number: int, raw: bytes) -> GoodLine | BadLine:
    try:
        return GoodLine(number, parse_line(raw))
    except InvalidCase as error:
        return BadLine(number, why(error))


def _refuse_duplicates(text: str) -> None:
    """RFC 8259 leaves open which of two members with one name counts; a claim must not depend on it."""

    def members(pairs: list[tuple[str, Any]]) -> None:
        seen = set()
        for name, _ in pairs:
            if name in seen:
                raise InvalidCase("stands twice in one object", where=_name(name))
            seen.add(name)

    try:
        json.loads(text, object_pairs_hook=members, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        raise InvalidCase("not valid JSON", where=_LINE) from None


def _name(name: str) -> str:
    """A member's name, shortened; one that is blank in quotes, so that it can be seen."""
    shown = one_line(name)[:_MAX_NAME]
    return shown or repr(name)


def _skip_rest(stream: BinaryIO, raw: bytes) -> None:
    while raw and not raw.endswith(b"\n"):
        raw = stream.readline(MAX_LINE)
