"""Replay and discard: a preview, and the confirmation that starts the operation."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from worker.errors import SelectionChanged
from worker.ledger.database import transaction
from worker.ledger.queries import FailureFilter
from worker.ledger.states import Verb
from worker.report import operations
from worker.report.preview import Preview, preview, read_token
from worker.report.web import addresses
from worker.report.web.labels import sentence
from worker.report.web.pages.front import sums
from worker.report.web.request_context import RequestContext

#: Maximum length of a note.
LONGEST_NOTE = 2000


def show_preview(context: RequestContext) -> Response:
    """Show which jobs would be affected, and with which keys. Change nothing."""
    try:
        verb = Verb(context.query.get("verb", ""))
        wanted = _selection(context)
    except ValueError as error:
        return context.page("error.html", 400, title="Nothing is selected", message=sentence(error))
    with context.snapshot() as connection:
        made = preview(connection, verb, wanted)
    return _page(context, made)


def confirm(context: RequestContext) -> Response:
    """Start the previewed operation, and redirect to its progress page."""
    token, note = context.text("token", 1_000_000), context.text("note", LONGEST_NOTE)
    try:
        confirmed = read_token(token)
        if confirmed.verb is Verb.DISCARD and not note:
            return _again(context, confirmed.verb, confirmed.wanted, "Give a reason: the audit log needs it.")
        absent = context.text("confirmed_absent") == "yes"
        if absent and not note:
            problem = "Say how you know that the cases are not there: the audit log needs it."
            return _again(context, confirmed.verb, confirmed.wanted, problem)
        with transaction(context.report.engine) as connection:
            number = operations.start(
                connection,
                token,
                actor=context.actor(note or None),
                channel=context.channel,
                canary=context.text("canary") == "yes",
                confirmed_absent=absent,
            )
    except SelectionChanged as error:
        return context.page("error.html", 409, title="The selection has changed", message=f"Nothing was done: {error}.")
    context.report.runner.kick()
    return RedirectResponse(f"/operations/{number}", 303)


def _again(context: RequestContext, verb: Verb, wanted: FailureFilter, problem: str) -> Response:
    with context.snapshot() as connection:
        made = preview(connection, verb, wanted)
    return _page(context, made, problem=problem, status=400)


def _page(context: RequestContext, made: Preview, *, problem: str | None = None, status: int = 200) -> Response:
    found = made.selected
    return context.page(
        "act.html", status, preview=made, found=found, amounts=sums(found.amounts), problem=problem,
        replay=made.verb is Verb.REPLAY, back=addresses.query_for(made.wanted), note=context.text("note", LONGEST_NOTE),
        canary="yes" in (context.text("canary"), context.query.get("canary")),
    )  # fmt: skip


def _selection(context: RequestContext) -> FailureFilter:
    """The ticked failures, or all that match the filter. Raises ValueError.

    `scope` names which: a form without ticks must never select everything.
    """
    match context.query.get("scope"):
        case "ticked":
            letters = addresses.ticked(context.query.getlist("id"))
            if not letters:
                raise ValueError("tick the jobs first, then choose an action")
            return FailureFilter(letters=letters)
        case "filter":
            wanted = addresses.read_filter(context.query)
            if wanted.problems:
                name, problem = next(iter(wanted.problems.items()))
                raise ValueError(f"the filter's {name} {problem}")
            return wanted.filter
    raise ValueError("the address does not say what to act on")
