"""One unreadable message: what is wrong with it, and what was sent."""

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
from worker.report.web.asking import Ask
from worker.report.web.pages.progress import HIGHEST
from worker.report.web.words import sentence


def message(ask: Ask) -> Response:
    """The message, with what was sent hidden: it may be a case."""
    with ask.reading() as connection:
        return _page(ask, _find(ask, connection), revealed=False)


def reveal(ask: Ask) -> Response:
    """The same with what was sent, once it is written down who looked."""
    with transaction(ask.report.engine) as connection:
        found = _find(ask, connection)
        audit(connection, AuditAction.REVEAL, ask.acting(), ask.door | {"dead_letter": found.dead_letter_id})
    return _page(ask, found, revealed=True)


def to_message(ask: Ask) -> Response:
    """What is shown by a button has no address of its own to come back to."""
    return RedirectResponse(f"/messages/{ask.request.path_params['number']}", 303)


def _find(ask: Ask, connection: Connection) -> UnreadableMessage:
    found = unreadable_message(connection, min(ask.request.path_params["number"], HIGHEST))
    if found is None:
        raise HTTPException(404)
    return found


def _page(ask: Ask, found: UnreadableMessage, *, revealed: bool) -> Response:
    todo = what_to_do("malformed_message")
    sent = _sent(ask, found) if revealed else ""
    return ask.page("message.html", message=found, revealed=revealed, todo=todo, sent=sent)


def _sent(ask: Ask, found: UnreadableMessage) -> str:
    """What was sent, or why it cannot be shown."""
    sent = found.detail.get("sent")
    if not isinstance(sent, str):
        return "It was removed when its time was over."
    try:
        return ask.report.protection.open_message(found.dead_letter_id, sent)
    except CaseSealed as error:
        return sentence(error)
