"""Bulk operations in the hands of a test: previewed, confirmed, looked at."""

from __future__ import annotations

from typing import Any

from tests.support.databases import Database
from worker.ledger import queries
from worker.ledger.database import transaction
from worker.ledger.queries import FailureFilter, Item, Operation
from worker.ledger.states import Verb
from worker.ledger.writer.resolve import Actor
from worker.report.operations import start
from worker.report.preview import Preview, preview

ADA = Actor("ada", "the client has signed")
CHANNEL = {"door": "test"}


def previewed(ledger: Database, wanted: FailureFilter | None = None, verb: Verb = Verb.REPLAY) -> Preview:
    """A preview of what is selected, by default of every failure."""
    with transaction(ledger.engine) as connection:
        return preview(connection, verb, wanted or FailureFilter())


def started(ledger: Database, made: Preview, *, actor: Actor = ADA, **more: Any) -> int:
    """Confirm a preview. Returns the operation's number."""
    with transaction(ledger.engine) as connection:
        return start(connection, made.token, actor=actor, channel=CHANNEL, **more)


def operation(ledger: Database, number: int) -> Operation:
    with ledger.engine.connect() as connection:
        return queries.operation(connection, number)


def items(ledger: Database, number: int) -> list[Item]:
    """The operation's result, job by job."""
    with ledger.engine.connect() as connection:
        return list(queries.operation_items(connection, number, page=2))


def states(ledger: Database) -> list[object]:
    """All jobs' states, the oldest job's first."""
    return [state for (state,) in ledger.rows("SELECT state FROM jobs ORDER BY created_at, id")]


def leases_end(ledger: Database) -> None:
    """The processes that carried out operations are gone long enough for another to take over."""
    ledger.rows("UPDATE operations SET lease_until = now() - interval '1 second'")
