"""Replaying and discarding whole selections: started from a preview, carried out in short transactions, resumable.

A canary replay sends one job, then five, then the rest; each of the first two stages waits until its jobs have ended in
the normal pipeline. It stops when one of them dies again, of the same cause or of another: either way it is not shown
that the rest would fare better, and a person should look first.
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
    canary_standing,
    page_of_targets,
    selected,
)
from worker.ledger.states import ItemOutcome, OperationState, Verb
from worker.ledger.writer import operations as writer
from worker.ledger.writer import resolve
from worker.ledger.writer.operations import HeldOperation, NewItem, NewOperation
from worker.ledger.writer.resolve import Actor
from worker.report.formatting import counted, said
from worker.report.preview import NOT_REPLAYABLE, read_token

#: Jobs in one transaction at most, so that none is held up for long and what is done stays done.
CHUNK = 500
#: How many jobs each stage of a canary replay tries; the stage after them is the rest.
CANARY = {1: 1, 2: 5}
REST = 3
#: Seconds between two looks at a canary's jobs.
PAUSE = 0.5

TOO_LATE = "somebody else acted on it a moment ago"


class Step(Enum):
    """What one step of carrying out an operation came to."""

    GO_ON = auto()
    """A chunk was dealt with; there may be more."""
    WAIT = auto()
    """A canary's jobs are under way."""
    OVER = auto()
    """It is finished, by us or by somebody else; or another process carries it out."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one step did, for whoever watches it from this process."""

    targets: Sequence[Target]
    items: Sequence[NewItem]


Watch = Callable[[Chunk], None]


def start(
    connection: Connection,
    token: str,
    *,
    actor: Actor,
    door: dict[str, Any],
    canary: bool = False,
    lease: UUID | None = None,
) -> int:
    """Write down the operation that a preview's token confirms. Returns its number; `run` carries it out.

    `door` says how it came in and goes to the audit log with each job. The actor's note is kept; a discard needs one.
    With a `lease` nobody else takes it up before the caller runs it with the same one.

    Raises SelectionChanged when more fits than was confirmed (fewer is no harm: somebody else was quicker) or nothing
    does any more, and ValueError for a discard without a note or with `canary`.
    """
    confirmed = read_token(token)
    if confirmed.verb is Verb.DISCARD and not (actor.note or "").strip():
        raise ValueError("a discard needs a reason in words")
    if confirmed.verb is Verb.DISCARD and canary:
        raise ValueError("only a replay can begin with a canary")
    found = selected(connection, confirmed.wanted, newest=confirmed.newest)
    count = found.jobs + found.messages
    if count > confirmed.count:
        raise SelectionChanged(
            f"{counted(count, 'failure')} would be acted on now, {confirmed.count} were confirmed: look again"
        )
    if not found.jobs and not (found.messages and confirmed.verb is Verb.DISCARD):
        raise SelectionChanged("nothing of what was selected is left to act on: somebody else was quicker")
    return writer.begin(
        connection,
        NewOperation(
            confirmed.verb, canary, actor, door, confirmed.wanted.as_dict(), confirmed.newest,
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
    """Carry the operation out, from where it stands to its end, or until `stopping` says so.

    Returns True when there is nothing left for this process to do: it is finished, or another process carries it out.
    False: `stopping` ended it, and the rest is left to whoever comes next. Running it twice at once is harmless: one of
    the two holds the lease, and the other returns. Raises SQLAlchemy's errors; what is committed stays, and running it
    again goes on from there.
    """
    lease = lease or uuid4()
    while not stopping():
        with transaction(engine) as connection:
            step, chunk = carry_on(connection, operation_id, lease=lease)
        if chunk:
            watch(chunk)
        if step is Step.OVER:
            return True
        if step is Step.WAIT:
            sleep(PAUSE)
    with transaction(engine) as connection:
        writer.let_go(connection, operation_id, lease=lease)
    return False


def carry_on(connection: Connection, operation_id: int, *, lease: UUID) -> tuple[Step, Chunk | None]:
    """One step, in this transaction: the next chunk, or a look at the canary's jobs, or the end."""
    held = writer.take(connection, operation_id, lease=lease)
    if held is None:
        return Step.OVER, None
    if held.cancelled_by:
        return _end(connection, held, OperationState.CANCELLED, f"cancelled by {held.cancelled_by}")
    stage, size, under_way = 0, CHUNK, 0
    if held.canary:
        stage = max(held.stage, 1)
        if stage in CANARY:
            standing = canary_standing(connection, held.id, stage)
            if standing.deaths:
                return _end(connection, held, OperationState.STOPPED, _why_stopped(standing.deaths[0]))
            under_way, size = standing.under_way, CANARY[stage] - standing.replayed
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
    return Step.GO_ON, Chunk(targets, items)


def _end(
    connection: Connection, held: HeldOperation, state: OperationState, message: str | None
) -> tuple[Step, Chunk | None]:
    writer.finish(connection, held.id, state, message)
    return Step.OVER, None


def _act(connection: Connection, held: HeldOperation, targets: Sequence[Target]) -> list[NewItem]:
    """Act on a chunk, and say what became of each. The transitions audit each job by themselves."""
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
        assert target.dead_letter_id is not None  # the page holds open dead letters only
        why = None
        if (target.job_id or target.dead_letter_id) not in done:
            why = TOO_LATE if target.job_id or held.verb is Verb.DISCARD else NOT_REPLAYABLE
        items.append(NewItem(target.dead_letter_id, target.job_id, ItemOutcome.SKIPPED if why else success, why))
    return items


def _why_stopped(death: CanaryDeath) -> str:
    told = said(death.error_type, death.message) or "no message"
    cause = "of the same cause again" if death.same_cause else "of another cause"
    return f"canary job {death.job_id} died {cause} ({death.reason}: {told}); the rest was left alone"
