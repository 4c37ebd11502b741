"""A bulk operation's row: begin, hold under a lease, advance chunk by chunk, cancel, finish.

The process that runs it calls `take` at the start of each transaction. That renews the lease, locks the row until the
commit, and returns the operation's progress: so each chunk is done by one process, wholly or not at all, and another
process can continue where a dead one stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from worker.ledger.states import AuditAction, ItemOutcome, OperationState, Verb
from worker.ledger.writer.audit import audit
from worker.ledger.writer.resolve import Actor

#: Seconds that a lease on an operation lasts. Each chunk renews it.
LEASE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class NewOperation:
    """What a person previewed and confirmed."""

    verb: Verb
    canary: bool
    actor: Actor
    door: dict[str, Any]
    """How it was requested, and what is known of the person there."""
    filter: dict[str, Any]
    newest: int
    jobs: int
    messages: int
    tenants: int
    amounts: dict[str, str]
    lease: UUID | None = None
    """A process that begins the operation and runs it at once holds it from the start."""


@dataclass(frozen=True, slots=True)
class HeldOperation:
    """An operation under our lease, as it is in this transaction."""

    id: int
    verb: Verb
    canary: bool
    actor: Actor
    door: dict[str, Any]
    filter: dict[str, Any]
    newest: int
    cursor: int
    done: int
    skipped: int
    stage: int
    cancelled_by: str | None


@dataclass(frozen=True, slots=True)
class NewItem:
    """What was done with one failure."""

    dead_letter_id: int
    job_id: UUID | None
    outcome: ItemOutcome
    why: str | None = None


_BEGIN = text(
    """
    INSERT INTO operations (verb, canary, actor, note, door, filter, newest, jobs, messages, tenants, amounts,
                            lease_token, lease_until)
    VALUES (:verb, :canary, :actor, :note, :door, :filter, :newest, :jobs, :messages, :tenants, :amounts,
            CAST(:lease AS uuid),
            CASE WHEN CAST(:lease AS uuid) IS NOT NULL THEN now() + make_interval(secs => :seconds) END)
    RETURNING id
    """
).bindparams(bindparam("door", type_=JSONB), bindparam("filter", type_=JSONB), bindparam("amounts", type_=JSONB))
_TAKE = text(
    """
    UPDATE operations SET lease_token = :lease, lease_until = now() + make_interval(secs => :seconds)
    WHERE id = :id AND state = 'running' AND (lease_token IS NULL OR lease_token = :lease OR lease_until < now())
    RETURNING id, verb, canary, actor, note, door, filter, newest, cursor, done, skipped, stage, cancelled_by
    """
)
_LET_GO = text("UPDATE operations SET lease_token = NULL, lease_until = NULL WHERE id = :id AND lease_token = :lease")
_ITEMS = text(
    """
    INSERT INTO operation_items (operation_id, dead_letter_id, job_id, outcome, why, stage)
    SELECT :id, i.dead_letter_id, i.job_id, i.outcome, i.why, :stage
    FROM jsonb_to_recordset(:items) AS i (dead_letter_id bigint, job_id uuid, outcome text, why text)
    """
).bindparams(bindparam("items", type_=JSONB))
_ADVANCE = text(
    "UPDATE operations SET cursor = :cursor, stage = :stage, done = done + :done, skipped = skipped + :skipped"
    " WHERE id = :id"
)
_FINISH = text(
    "UPDATE operations SET state = :state, finished_at = now(), message = :message, lease_token = NULL,"
    " lease_until = NULL WHERE id = :id AND state = 'running' RETURNING actor, note, verb, done, skipped"
)
_CANCEL = text(
    "UPDATE operations SET cancelled_by = COALESCE(cancelled_by, :by), cancelled_at = COALESCE(cancelled_at, now())"
    " WHERE id = :id AND state = 'running' RETURNING COALESCE(lease_until > now(), false) AS carried_out"
)


def begin(connection: Connection, new: NewOperation) -> int:
    """Store the operation and audit the request. Returns its number."""
    parameters = {
        "verb": new.verb.value, "canary": new.canary, "actor": new.actor.name, "note": new.actor.note,
        "door": new.door, "filter": new.filter, "newest": new.newest, "jobs": new.jobs, "messages": new.messages,
        "tenants": new.tenants, "amounts": new.amounts, "lease": new.lease, "seconds": LEASE_SECONDS,
    }  # fmt: skip
    operation_id = int(connection.execute(_BEGIN, parameters).scalar_one())
    selected = {"jobs": new.jobs, "messages": new.messages, "tenants": new.tenants, "amounts": new.amounts}
    detail = {"operation": operation_id, "verb": new.verb.value, "canary": new.canary, "filter": new.filter}
    audit(connection, AuditAction.OPERATION_STARTED, new.actor, new.door | detail | selected)
    return operation_id


def take(connection: Connection, operation_id: int, *, lease: UUID) -> HeldOperation | None:
    """Take the operation's lease, or renew it. None: it is finished, or another process holds it."""
    row = connection.execute(_TAKE, {"id": operation_id, "lease": lease, "seconds": LEASE_SECONDS}).one_or_none()
    if row is None:
        return None
    return HeldOperation(
        row.id, Verb(row.verb), row.canary, Actor(row.actor, row.note), row.door, row.filter, row.newest, row.cursor,
        row.done, row.skipped, row.stage, row.cancelled_by,
    )  # fmt: skip


def let_go(connection: Connection, operation_id: int, *, lease: UUID) -> None:
    """Release the lease of a running operation, so that another process can run it."""
    connection.execute(_LET_GO, {"id": operation_id, "lease": lease})


def advance(connection: Connection, held: HeldOperation, items: Sequence[NewItem], *, cursor: int, stage: int) -> None:
    """Record, in the chunk's transaction, what was done with a chunk, and that all up to `cursor` is processed."""
    rows = [
        asdict(item) | {"job_id": str(item.job_id) if item.job_id else None, "outcome": item.outcome.value}
        for item in items
    ]
    connection.execute(_ITEMS, {"id": held.id, "stage": stage, "items": rows})
    skipped = sum(item.outcome is ItemOutcome.SKIPPED for item in items)
    connection.execute(
        _ADVANCE,
        {"id": held.id, "cursor": cursor, "stage": stage, "done": len(items) - skipped, "skipped": skipped},
    )


def finish(connection: Connection, operation_id: int, state: OperationState, message: str | None = None) -> None:
    """`running` → `done`, `stopped` or `cancelled`, with the reason; audit the result."""
    row = connection.execute(_FINISH, {"id": operation_id, "state": state.value, "message": message}).one_or_none()
    if row is None:
        return
    detail = {"operation": operation_id, "verb": row.verb, "state": state.value, "done": row.done}
    audit(connection, AuditAction.OPERATION_FINISHED, Actor(row.actor, row.note), detail | {"skipped": row.skipped})


def cancel(connection: Connection, operation_id: int, actor: Actor, door: dict[str, Any]) -> bool:
    """Ask for the operation to stop at its next chunk; one that no process runs is cancelled at once.

    `door` says how that was asked, for the audit log. Returns whether it was still running. What is done stays done.
    """
    row = connection.execute(_CANCEL, {"id": operation_id, "by": actor.name}).one_or_none()
    if row is None:
        return False
    audit(connection, AuditAction.OPERATION_CANCELLED, actor, door | {"operation": operation_id})
    if not row.carried_out:
        finish(connection, operation_id, OperationState.CANCELLED, f"cancelled by {actor.name}")
    return True
