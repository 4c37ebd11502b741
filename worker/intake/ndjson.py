"""Read cases from NDJSON, one per line. A bad line is reported with its reason and does not stop the others.

Reasons name members and paths, never values: a line holds personal data.
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

#: Maximum length of a line in bytes.
MAX_LINE = 8 * 1024 * 1024
#: The members of a line, and the arguments of `admit`.
MEMBERS = {
    "externalTenantId": "external_tenant_id",
    "case": "case",
    "idempotencyKey": "idempotency_key",
    "priority": "priority",
}
PRIORITIES = ("high", "normal", "low")
#: The place of a problem with the whole line.
_LINE = "line"
_BOM = b"\xef\xbb\xbf"
#: Maximum characters of a member's name in a reason.
_MAX_NAME = 60


@dataclass(frozen=True, slots=True)
class GoodLine:
    """A valid line."""

    number: int
    job: NewJob


@dataclass(frozen=True, slots=True)
class BadLine:
    """An invalid line, with the reason."""

    number: int
    reason: str


def read_lines(stream: BinaryIO, *, max_line: int = MAX_LINE) -> Iterator[GoodLine | BadLine]:
    """Read all non-blank lines in order. Line numbers begin at 1 and include blank lines, like in an editor."""
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
    """Parse one line as a job. Raises InvalidCase."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidCase(f"byte {error.start + 1} is not UTF-8", where=_LINE) from None
    content = read_json(text, where=_LINE)
    _reject_duplicates(text)
    if not isinstance(content, dict):
        raise InvalidCase(f"should be an object with {', '.join(MEMBERS)}", where=_LINE)
    if unknown := sorted(content.keys() - MEMBERS.keys()):
        names = ", ".join(_name(name) for name in unknown[:5])
        raise InvalidCase(f"unknown; a line has {', '.join(MEMBERS)}", where=names)
    fields = {ours: content.get(theirs) for theirs, ours in MEMBERS.items()}
    priority = "normal" if fields["priority"] is None else fields["priority"]
    if priority not in PRIORITIES:
        # Checked here, because the error of `admit` would contain the value.
        raise InvalidCase("should be high, normal or low", where="priority")
    return admit(**(fields | {"priority": priority}))


def reason_of(error: InvalidCase) -> str:
    """The reason, with the member names of the line."""
    if error.where == _LINE:
        return one_line(error.problem)
    where = next((theirs for theirs, ours in MEMBERS.items() if ours == error.where), error.where)
    return one_line(f"{where}: {error.problem}")


def _read(number: int, raw: bytes) -> GoodLine | BadLine:
    try:
        return GoodLine(number, parse_line(raw))
    except InvalidCase as error:
        return BadLine(number, reason_of(error))


def _reject_duplicates(text: str) -> None:
    """Reject duplicate names: RFC 8259 does not define which value counts."""

    def members(pairs: list[tuple[str, Any]]) -> None:
        seen = set()
        for name, _ in pairs:
            if name in seen:
                raise InvalidCase("occurs twice in one object", where=_name(name))
            seen.add(name)

    try:
        json.loads(text, object_pairs_hook=members, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        raise InvalidCase("not valid JSON", where=_LINE) from None


def _name(name: str) -> str:
    """A member's name, shortened; quoted if blank, so that it is visible."""
    shown = one_line(name)[:_MAX_NAME]
    return shown or repr(name)


def _skip_rest(stream: BinaryIO, raw: bytes) -> None:
    while raw and not raw.endswith(b"\n"):
        raw = stream.readline(MAX_LINE)
