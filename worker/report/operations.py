"""Replay or discard a selection: started from a preview, run in short transactions, resumable.

A canary replay sends one job, then five, then the rest; each of the first two stages waits for the outcome of its jobs.
It stops if one of them dies again, for the same or another cause: the rest would probably fail too, so a person should
look first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine

from worker.errors import SelectionChanged
from worker.ledger.database import transaction
from worker.ledger.queries import (
    CanaryDeath,
    FailureFilter,
    Target,
    canary_status,
    page_of_targets,
    selected,
)
from worker.ledger.queries.targets import jobs_to_ask_for
from worker.ledger.states import ItemOutcome, OperationState, Verb
from worker.ledger.writer import operations as writer
from worker.ledger.writer import resolve
from worker.ledger.writer.operations import HeldOperation, NewItem, NewOperation
from worker.ledger.writer.reconcile import note_absent
from worker.ledger.writer.resolve import Actor
from worker.report.formatting import counted, describe_error
from worker.report.preview import NOT_REPLAYABLE, read_token

#: Jobs per transaction at most, so that locks are short and progress is kept.
CHUNK = 500
#: Jobs in each stage of a canary replay; a third stage sends the rest.
CANARY = {1: 1, 2: 5}
REST = 3
#: Seconds between two checks of a canary's jobs.
PAUSE = 0.5

TOO_LATE = "another user acted on it a moment ago"


class Step(Enum):
    """The result of one step of an operation."""

    CONTINUE = auto()
    """A chunk was processed; there may be more."""
    WAIT = auto()
    """The canary's jobs have no outcome yet."""
    FINISHED = auto()
    """The operation has ended, or another process runs it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one step did, for progress display in this process."""

    targets: Sequence[Target]
    items: Sequence[NewItem]


Watch = Callable[[Chunk], None]


def start(
    connection: Connection,
    token: str,
    *,
    actor: Actor,
    channel: dict[str, Any],
    canary: bool = False,
    confirmed_absent: bool = False,
    lease: UUID | None = None,
) -> int:
    """Record the operation that a preview's token confirms. Returns its number; `run` executes it.

    `channel` says how the user acted and is audited with each job. The actor's note is stored; a discard needs one.
    `confirmed_absent` says that the actor has looked in Debitura for the cases that only a person can look for, and
    that they are not there: they are sent under new keys. With a `lease`, no other process runs the operation before
    the caller does with the same lease.

    Raises SelectionChanged if more failures match than were confirmed (fewer is harmless) or none does, and ValueError
    for a discard without a note or with `canary`, and for `confirmed_absent` without a note.
    """
    confirmed = read_token(token)
    if confirmed.verb is Verb.DISCARD and not (actor.note or "").strip():
        raise ValueError("a discard needs a note")
    if confirmed.verb is Verb.DISCARD and canary:
        raise ValueError("only a replay can use a canary")
    found = selected(connection, confirmed.wanted, newest=confirmed.newest)
    count = found.jobs + found.messages
    if count > confirmed.count:
        raise SelectionChanged(
            f"{counted(count, 'failure')} would be affected, {confirmed.count} were confirmed: open the preview again"
        )
    if not found.jobs and not (found.messages and confirmed.verb is Verb.DISCARD):
        raise SelectionChanged("nothing of the selection is left: another user acted first")
    if confirmed_absent:
        if not (actor.note or "").strip():
            raise ValueError("that the cases are absent needs a note that says how it is known")
        absent = jobs_to_ask_for(connection, confirmed.wanted, newest=confirmed.newest)
        note_absent(connection, absent, actor, channel)
    return writer.begin(
        connection,
        NewOperation(
            confirmed.verb, canary, actor, channel, confirmed.wanted.as_dict(), confirmed.newest,
            found.jobs, found.messages, found.tenants, found.amounts, lease,
        ),
    )  # fmt: skip


def run(
    engine: Engine,
    operation_id: int,
    *,
    lease: UUID | None = None,
    stopping: Callable[[], bool] = lambda: False,
    watch: Watch = lambda _: None,
    sleep: Callable[[float], object] = time.sleep,
) -> bool:
    """Run the operation from its current position to its end, or until `stopping` returns True.

    Returns True if the operation has ended or another process runs it, and False if `stopping` interrupted it; then
    another process can resume it. Running it twice at once is harmless: one holds the lease, the other returns. Raises
    SQLAlchemy's errors; committed chunks stay, and a new run resumes after them.
    """
    lease = lease or uuid4()
    while not stopping():
        with transaction(engine) as connection:
            step, chunk = run_step(connection, operation_id, lease=lease)
        if chunk:
            watch(chunk)
        if step is Step.FINISHED:
            return True
        if step is Step.WAIT:
            sleep(PAUSE)
    with transaction(engine) as connection:
        writer.let_go(connection, operation_id, lease=lease)
    return False


def run_step(connection: Connection, operation_id: int, *, lease: UUID) -> tuple[Step, Chunk | None]:
    """Run one step in this transaction: process a chunk, check the canary's jobs, or finish."""
    held = writer.take(connection, operation_id, lease=lease)
    if held is None:
        return Step.FINISHED, None
    if held.cancelled_by:
        return _end(connection, held, OperationState.CANCELLED, f"cancelled by {held.cancelled_by}")
    stage, size, under_way = 0, CHUNK, 0
    if held.canary:
        stage = max(held.stage, 1)
        if stage in CANARY:
            status = canary_status(connection, held.id, stage)
            if status.deaths:
                return _end(connection, held, OperationState.STOPPED, _why_stopped(status.deaths[0]))
            under_way, size = status.under_way, CANARY[stage] - status.replayed
            if size <= 0 and under_way:
                return Step.WAIT, None
            if size <= 0:
                stage += 1
                size = CANARY.get(stage, CHUNK)
    targets = page_of_targets(
        connection, FailureFilter.from_dict(held.filter), after=held.cursor, newest=held.newest, limit=size
    )
    if not targets and under_way:
        return Step.WAIT, None
    if not targets:
        return _end(connection, held, OperationState.DONE, None)
    items = _act(connection, held, targets)
    cursor = max(target.dead_letter_id or 0 for target in targets)
    writer.advance(connection, held, items, cursor=cursor, stage=stage)
    return Step.CONTINUE, Chunk(targets, items)


def _end(
    connection: Connection, held: HeldOperation, state: OperationState, message: str | None
) -> tuple[Step, Chunk | None]:
    writer.finish(connection, held.id, state, message)
    return Step.FINISHED, None


def _act(connection: Connection, held: HeldOperation, targets: Sequence[Target]) -> list[NewItem]:
    """Process a chunk and return each item's result. The transitions audit each job."""
    jobs = [target.job_id for target in targets if target.job_id]
    letters = [target.dead_letter_id for target in targets if not target.job_id and target.dead_letter_id]
    detail = held.door | {"operation": held.id}
    done: set[UUID | int] = set()
    if held.verb is Verb.REPLAY:
        done |= set(resolve.replay(connection, jobs, held.actor, detail)) if jobs else set()
    else:
        done |= set(resolve.discard(connection, jobs, held.actor, detail)) if jobs else set()
        done |= set(resolve.discard_messages(connection, letters, held.actor, detail)) if letters else set()
    success = ItemOutcome.REPLAYED if held.verb is Verb.REPLAY else ItemOutcome.DISCARDED
    items = []
    for target in targets:
        assert target.dead_letter_id is not None  # the page has open dead letters only
        why = None
        if (target.job_id or target.dead_letter_id) not in done:
            why = TOO_LATE if target.job_id or held.verb is Verb.DISCARD else NOT_REPLAYABLE
        items.append(NewItem(target.dead_letter_id, target.job_id, ItemOutcome.SKIPPED if why else success, why))
    return items


def _why_stopped(death: CanaryDeath) -> str:
    message = describe_error(death.error_type, death.message) or "no message"
    cause = "for the same cause again" if death.same_cause else "for another cause"
    return f"canary job {death.job_id} died {cause} ({death.reason}: {message}); the rest was not replayed"
