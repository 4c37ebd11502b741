"""Operations: the list, the progress of one, and its cancellation."""

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
from worker.report.web.pages.front import sums
from worker.report.web.request_context import RequestContext

ROWS = 40
#: Items on an operation's page; the download has all of them.
ITEMS = 50
#: The largest operation number (bigint).
HIGHEST = 2**63 - 1
_PAST = {Verb.REPLAY: "replayed", Verb.DISCARD: "discarded"}


def activity(context: RequestContext) -> Response:
    """The list of operations, newest first."""
    before = context.query.get("before", "")
    place = int(before) if before.isascii() and before.isdecimal() and len(before) < 18 else None
    with context.snapshot() as connection:
        found = queries.operations(connection, before=place, limit=ROWS + 1)
    following = found[ROWS - 1].id if len(found) > ROWS else None
    listed = [(operation, addresses.selection(operation.filter)) for operation in found[:ROWS]]
    return context.page("operations.html", operations=listed, following=following, first=place is None)


def progress(context: RequestContext) -> Response:
    """An operation's progress and results. Raises OperationNotFound."""
    with context.snapshot() as connection:
        found = _operation(context, connection)
        items = list(islice(queries.operation_items(connection, found.id, page=ITEMS), ITEMS))
    return context.page(
        "operation.html", operation=found, items=items, words=describe_progress(found), running=_runs(found),
        amounts=sums(found.amounts), view=_view(found), selected=addresses.selection(found.filter),
        past=_PAST[Verb(found.verb)], stages=CANARY,
    )  # fmt: skip


def progress_json(context: RequestContext) -> Response:
    """The progress as JSON, for the page's script."""
    with context.snapshot() as connection:
        found = _operation(context, connection)
    return JSONResponse(
        {
            "finished": not _runs(found), "done": _processed_count(found), "total": found.total, "stage": found.stage,
            "words": describe_progress(found),
        }
    )  # fmt: skip


def stop(context: RequestContext) -> Response:
    """Request that the operation stops before its next chunk."""
    number = min(context.request.path_params["number"], HIGHEST)
    with transaction(context.report.engine) as connection:
        cancel(connection, number, context.actor(), context.channel)
    return RedirectResponse(f"/operations/{number}", 303)


def to_progress(context: RequestContext) -> Response:
    """Redirect a GET on the POST-only cancel address to the operation."""
    return RedirectResponse(f"/operations/{context.request.path_params['number']}", 303)


def describe_progress(operation: Operation) -> dict[str, str]:
    """The values that change during an operation, formatted."""
    processed = _processed_count(operation)
    share = f"{processed / operation.total:.0%}" if operation.total else "100%"
    return {
        "done": f"{operation.done:,}",
        "skipped": f"{operation.skipped:,}",
        "left": f"{max(operation.total - processed, 0):,}",
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
            return f"Cancelled by {operation.cancelled_by}; earlier changes remain."
    if operation.cancelled_by:
        return f"{operation.cancelled_by} has requested a stop."
    if operation.canary and operation.stage in CANARY:
        tried = "one job" if CANARY[operation.stage] == 1 else f"{CANARY[operation.stage]} jobs"
        return f"Canary: {tried} sent; the next step waits until their outcome is known."
    return "Running." if operation.carried_out else "Starting."


def _processed_count(operation: Operation) -> int:
    return min(operation.done + operation.skipped, operation.total)


def _runs(operation: Operation) -> bool:
    return operation.state == OperationState.RUNNING


def _view(operation: Operation) -> str | None:
    """The query string for the rest of the selection, empty for all; None if an older version stored the filter."""
    try:
        return addresses.query_for(FailureFilter.from_dict(operation.filter))
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None


def _operation(context: RequestContext, connection: Connection) -> Operation:
    return queries.operation(connection, min(context.request.path_params["number"], HIGHEST))
