"""Answer the brake: accept its verdict, or let the fleet go on."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from worker.ledger.database import transaction
from worker.ledger.writer.brake import accept_verdict, release_brake
from worker.report.web.pages.act import LONGEST_NOTE
from worker.report.web.request_context import RequestContext


def answer(context: RequestContext) -> Response:
    """Accept the verdict or release the brake, and go back to the front page. Nothing happens if the brake is off."""
    actor = context.actor(context.text("note", LONGEST_NOTE) or None)
    with transaction(context.report.engine) as connection:
        if context.text("answer") == "accept":
            accept_verdict(connection, actor)
        elif context.text("answer") == "release":
            release_brake(connection, actor)
    return RedirectResponse("/", 303)


def to_front(_context: RequestContext) -> Response:
    """Redirect a GET on the POST-only address to the front page."""
    return RedirectResponse("/", 303)
