"""The audit view: who did what, when and why, one entry at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from worker.ledger.queries.audit import Act, acts, different_actions, different_actors
from worker.report.audit_descriptions import NAMES, describe, name_of, way
from worker.report.web import addresses
from worker.report.web.asking import Ask
from worker.report.web.audit_addresses import read_audit_filter

ROWS = 50


@dataclass(frozen=True, slots=True)
class Line:
    """One entry as it is shown."""

    act: Act
    words: str
    way: str | None
    operation: int | None
    selected: dict[str, str] | None
    """The filter that an operation had, by the names that it has in an address; None where there is none."""


def audit_view(ask: Ask) -> Response:
    """One page of the entries that fit, newest first."""
    wanted = read_audit_filter(ask.query)
    text = ask.query.get("before", "")
    place = int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else None
    with ask.reading() as connection:
        actions, people = different_actions(connection), different_actors(connection)
        found = [] if wanted.problems else acts(connection, wanted.filter, older_than=place, limit=ROWS + 1)
    menu = [(action, name_of(action)) for action in dict.fromkeys([*NAMES, *actions])]
    following = found[ROWS - 1].id if len(found) > ROWS else None
    return ask.page(
        "audit.html", 400 if wanted.problems else 200, wanted=wanted, lines=[_line(act) for act in found[:ROWS]],
        actions=menu, people=people, following=following, first=place is None,
    )  # fmt: skip


def _line(act: Act) -> Line:
    number: Any = act.detail.get("operation")
    stored: Any = act.detail.get("filter")
    return Line(
        act, describe(act), way(act.detail), number if isinstance(number, int) else None,
        addresses.selection(stored) if isinstance(stored, dict) else None,
    )  # fmt: skip
