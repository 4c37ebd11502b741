"""Operations: all of them, one while it goes on, and stopping it."""

from __future__ import annotations

from itertools import islice

from sqlalchemy import Connection
from starlette.responses import JSONResponse, RedirectResponse, Response

from worker.ledger import queries
from worker.ledger.database import transaction
from worker.ledger.queries import FailureFilter, Operation
from worker.ledger.states import OperationState, Verb
from worker.ledger.writer.operations import cancel
from worker.report.operations import CANARY
from worker.report.web import addresses
from worker.report.web.asking import Ask
from worker.report.web.pages.front import sums

ROWS = 40
#: Items on an operation's page; the file has them all.
ITEMS = 50
#: The highest number that an operation can have.
HIGHEST = 2**63 - 1
_PAST = {Verb.REPLAY: "replayed", Verb.DISCARD: "discarded"}


def activity(ask: Ask) -> Response:
    """What people have done, newest first."""
    before = ask.query.get("before", "")
    place = int(before) if before.isascii() and before.isdecimal() and len(before) < 18 else None
    with ask.reading() as connection:
        found = queries.operations(connection, before=place, limit=ROWS + 1)
    following = found[ROWS - 1].id if len(found) > ROWS else None
    listed = [(operation, addresses.selection(operation.filter)) for operation in found[:ROWS]]
    return ask.page("operations.html", operations=listed, following=following, first=place is None)


def progress(ask: Ask) -> Response:
    """How far one has come, and what came of it. Raises OperationNotFound."""
    with ask.reading() as connection:
        found = _operation(ask, connection)
        items = list(islice(queries.operation_items(connection, found.id, page=ITEMS), ITEMS))
    return ask.page(
        "operation.html", operation=found, items=items, words=words(found), running=_runs(found),
        amounts=sums(found.amounts), view=_view(found), selected=addresses.selection(found.filter),
        past=_PAST[Verb(found.verb)], stages=CANARY,
    )  # fmt: skip


def progress_json(ask: Ask) -> Response:
    """The same for the page's script."""
    with ask.reading() as connection:
        found = _operation(ask, connection)
    return JSONResponse(
        {
            "finished": not _runs(found), "done": _dealt_with(found), "total": found.total, "stage": found.stage,
            "words": words(found),
        }
    )  # fmt: skip


def stop(ask: Ask) -> Response:
    """Ask for it to be stopped at its next chunk."""
    number = min(ask.request.path_params["number"], HIGHEST)
    with transaction(ask.report.engine) as connection:
        cancel(connection, number, ask.acting(), ask.door)
    return RedirectResponse(f"/operations/{number}", 303)


def to_progress(ask: Ask) -> Response:
    """Cancelling is a button's matter; somebody who comes back to its address sees how it stands."""
    return RedirectResponse(f"/operations/{ask.request.path_params['number']}", 303)


def words(operation: Operation) -> dict[str, str]:
    """What changes while it goes on, as it is shown."""
    dealt = _dealt_with(operation)
    share = f"{dealt / operation.total:.0%}" if operation.total else "100%"
    return {
        "done": f"{operation.done:,}",
        "skipped": f"{operation.skipped:,}",
        "left": f"{max(operation.total - dealt, 0):,}",
        "share": share,
        "now": _now(operation),
    }


def _now(operation: Operation) -> str:
    match operation.state:
        case OperationState.DONE:
            return "Done."
        case OperationState.STOPPED:
            return f"Stopped: {operation.message}."
        case OperationState.CANCELLED:
            return f"Cancelled by {operation.cancelled_by}; what was done until then stays done."
    if operation.cancelled_by:
        return f"{operation.cancelled_by} has asked for it to be stopped."
    if operation.canary and operation.stage in CANARY:
        tried = "one job" if CANARY[operation.stage] == 1 else f"{CANARY[operation.stage]} jobs"
        return f"Canary: {tried} went out; the next step waits until they have come to their end."
    return "Under way." if operation.carried_out else "About to begin."


def _dealt_with(operation: Operation) -> int:
    return min(operation.done + operation.skipped, operation.total)


def _runs(operation: Operation) -> bool:
    return operation.state == OperationState.RUNNING


def _view(operation: Operation) -> str | None:
    """The query for what is left of the selection, empty for all; None where the filter is of an older kind."""
    try:
        return addresses.query_for(FailureFilter.from_dict(operation.filter))
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None


def _operation(ask: Ask, connection: Connection) -> Operation:
    return queries.operation(connection, min(ask.request.path_params["number"], HIGHEST))
