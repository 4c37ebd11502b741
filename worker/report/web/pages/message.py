"""One unreadable message: its error, and its content."""

from __future__ import annotations

from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from worker.errors import CaseSealed
from worker.ledger.database import transaction
from worker.ledger.queries.failures import UnreadableMessage, unreadable_message
from worker.ledger.states import AuditAction
from worker.ledger.writer.audit import audit
from worker.report.advice import what_to_do
from worker.report.web.labels import sentence
from worker.report.web.pages.progress import HIGHEST
from worker.report.web.request_context import RequestContext


def message(context: RequestContext) -> Response:
    """Show the message with its content hidden: it may be a case."""
    with context.snapshot() as connection:
        return _page(context, _find(context, connection), revealed=False)


def reveal(context: RequestContext) -> Response:
    """Show the message with its content, after auditing the access."""
    with transaction(context.report.engine) as connection:
        found = _find(context, connection)
        audit(connection, AuditAction.REVEAL, context.actor(), context.channel | {"dead_letter": found.dead_letter_id})
    return _page(context, found, revealed=True)


def to_message(context: RequestContext) -> Response:
    """Redirect a GET on a POST-only address to the message."""
    return RedirectResponse(f"/messages/{context.request.path_params['number']}", 303)


def _find(context: RequestContext, connection: Connection) -> UnreadableMessage:
    found = unreadable_message(connection, min(context.request.path_params["number"], HIGHEST))
    if found is None:
        raise HTTPException(404)
    return found


def _page(context: RequestContext, found: UnreadableMessage, *, revealed: bool) -> Response:
    todo = what_to_do("malformed_message")
    sent = _sent(context, found) if revealed else ""
    return context.page("message.html", message=found, revealed=revealed, todo=todo, sent=sent)


def _sent(context: RequestContext, found: UnreadableMessage) -> str:
    """The message's content, or why it cannot be shown."""
    sent = found.detail.get("sent")
    if not isinstance(sent, str):
        return "It was removed after its retention period."
    try:
        return context.report.protection.open_message(found.dead_letter_id, sent)
    except CaseSealed as error:
        return sentence(error)
