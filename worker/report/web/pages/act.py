"""Replaying and discarding: a preview of what would be done, and the confirmation that begins it."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from worker.errors import SelectionChanged
from worker.ledger.database import transaction
from worker.ledger.queries import FailureFilter
from worker.ledger.states import Verb
from worker.report import operations
from worker.report.preview import Preview, preview, read_token
from worker.report.web import addresses
from worker.report.web.asking import Ask
from worker.report.web.pages.front import sums
from worker.report.web.words import sentence

#: Characters of a note.
LONGEST_NOTE = 2000


def look(ask: Ask) -> Response:
    """What would be done, to whom, and under which keys. Nothing happens yet."""
    try:
        verb = Verb(ask.query.get("verb", ""))
        wanted = _selection(ask)
    except ValueError as error:
        return ask.page("error.html", 400, title="Nothing is selected", said=sentence(error))
    with ask.reading() as connection:
        made = preview(connection, verb, wanted)
    return _page(ask, made)


def confirm(ask: Ask) -> Response:
    """Begin what was previewed, and go to where it can be watched."""
    token, note = ask.text("token", 1_000_000), ask.text("note", LONGEST_NOTE)
    try:
        confirmed = read_token(token)
        if confirmed.verb is Verb.DISCARD and not note:
            return _again(ask, confirmed.verb, confirmed.wanted, "Say why: whoever looks at this later has to know.")
        with transaction(ask.report.engine) as connection:
            number = operations.start(
                connection, token, actor=ask.acting(note or None), door=ask.door, canary=ask.text("canary") == "yes"
            )
    except SelectionChanged as error:
        return ask.page("error.html", 409, title="It is no longer what you saw", said=f"Nothing was done: {error}.")
    ask.report.runner.kick()
    return RedirectResponse(f"/operations/{number}", 303)


def _again(ask: Ask, verb: Verb, wanted: FailureFilter, problem: str) -> Response:
    with ask.reading() as connection:
        made = preview(connection, verb, wanted)
    return _page(ask, made, problem=problem, status=400)


def _page(ask: Ask, made: Preview, *, problem: str | None = None, status: int = 200) -> Response:
    found = made.selected
    return ask.page(
        "act.html", status, preview=made, found=found, amounts=sums(found.amounts), problem=problem,
        replay=made.verb is Verb.REPLAY, back=addresses.query_for(made.wanted), note=ask.text("note", LONGEST_NOTE),
        canary="yes" in (ask.text("canary"), ask.query.get("canary")),
    )  # fmt: skip


def _selection(ask: Ask) -> FailureFilter:
    """The ticked failures, or all that fit the filter. Raises ValueError.

    The two are told apart by name: a form without a single tick must never come to mean everything.
    """
    match ask.query.get("scope"):
        case "ticked":
            letters = addresses.ticked(ask.query.getlist("id"))
            if not letters:
                raise ValueError("tick the jobs first, then choose what to do with them")
            return FailureFilter(letters=letters)
        case "filter":
            wanted = addresses.read_filter(ask.query)
            if wanted.problems:
                name, problem = next(iter(wanted.problems.items()))
                raise ValueError(f"the filter's {name} {problem}")
            return wanted.filter
    raise ValueError("the address does not say what to act on")
