"""The audit log: who did what, when and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from worker.ledger.queries.audit import Act, acts, distinct_actions, distinct_actors
from worker.report.audit_descriptions import NAMES, describe, describe_channel, name_of
from worker.report.web import addresses
from worker.report.web.audit_addresses import read_audit_filter
from worker.report.web.request_context import RequestContext

ROWS = 50


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of the audit log, ready for the template."""

    act: Act
    description: str
    channel: str | None
    operation: int | None
    selected: dict[str, str] | None
    """The operation's filter as parts of an address, or None."""


def audit_view(context: RequestContext) -> Response:
    """One page of the matching entries, newest first."""
    wanted = read_audit_filter(context.query)
    text = context.query.get("before", "")
    place = int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else None
    with context.snapshot() as connection:
        actions, people = distinct_actions(connection), distinct_actors(connection)
        found = [] if wanted.problems else acts(connection, wanted.filter, older_than=place, limit=ROWS + 1)
    menu = [(action, name_of(action)) for action in dict.fromkeys([*NAMES, *actions])]
    following = found[ROWS - 1].id if len(found) > ROWS else None
    return context.page(
        "audit.html", 400 if wanted.problems else 200, wanted=wanted, lines=[_line(act) for act in found[:ROWS]],
        actions=menu, people=people, following=following, first=place is None,
    )  # fmt: skip


def _line(act: Act) -> Line:
    number: Any = act.detail.get("operation")
    stored: Any = act.detail.get("filter")
    return Line(
        act, describe(act), describe_channel(act.detail), number if isinstance(number, int) else None,
        addresses.selection(stored) if isinstance(stored, dict) else None,
    )  # fmt: skip
