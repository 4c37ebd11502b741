"""Remove case data: of a data subject on request, and of jobs that have been final for long enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine

from worker.case.protection import Protection
from worker.ledger.database import transaction
from worker.ledger.states import FINAL_STATES, AuditAction, State
from worker.ledger.writer import resolve
from worker.ledger.writer.audit import audit
from worker.ledger.writer.purge import Purged, erase_jobs, erase_messages, purge_due
from worker.ledger.writer.resolve import Actor
from worker.privacy.subject import Subject, matching_jobs, matching_messages

#: The most jobs in one transaction.
CHUNK = 200


@dataclass(slots=True)
class Erasure:
    """What belongs to the subject, grouped by what can be done with it."""

    final: list[UUID] = field(default_factory=list)
    dead: list[UUID] = field(default_factory=list)
    """Dead and held jobs: discarded before they are erased."""
    erased_before: int = 0
    under_way: list[tuple[UUID, str]] = field(default_factory=list)
    """Jobs that may still be submitted, with their states; left alone."""
    unsure: list[tuple[UUID, str]] = field(default_factory=list)
    """Jobs whose case can't be decrypted to check whether it is the subject's, with the reason; left alone."""
    messages: list[int] = field(default_factory=list)
    """Unreadable messages, by dead letter id."""
    late: list[UUID] = field(default_factory=list)
    """Found, but changed by another process before they could be erased."""


def look(connection: Connection, subject: Subject, protection: Protection) -> Erasure:
    """Find what an erasure would do. Changes nothing."""
    found = Erasure()
    for match in matching_jobs(connection, subject, protection):
        job = match.job
        if match.unsure:
            found.unsure.append((job.id, match.unsure))
        elif job.purged_at is not None:
            found.erased_before += 1
        elif job.state in FINAL_STATES:
            found.final.append(job.id)
        elif job.state in (State.DEAD, State.HELD):
            found.dead.append(job.id)
        else:
            found.under_way.append((job.id, job.state))
    found.messages = [message.dead_letter_id for message in matching_messages(connection, subject, protection)]
    return found


def erase(engine: Engine, found: Erasure, *, actor: Actor, door: dict[str, Any], subject: dict[str, Any]) -> int:
    """Erase what was found, in small transactions. Returns how many jobs were erased; the others go to `found.late`.

    `subject` identifies the subject in the audit log. Each job gets its own entry; a final entry has the totals.
    """
    erased = 0
    jobs = [*found.final, *found.dead]
    dead = set(found.dead)
    for start in range(0, len(jobs), CHUNK):
        chunk = jobs[start : start + CHUNK]
        with transaction(engine) as connection:
            if given_up := [job for job in chunk if job in dead]:
                resolve.discard(connection, given_up, actor, door | {"for": "erase"})
            done = erase_jobs(connection, chunk, actor, door)
        erased += len(done)
        found.late += [job for job in chunk if job not in set(done)]
    with transaction(engine) as connection:
        _erase_messages(connection, found.messages, actor, door)
        detail = subject | {"jobs": erased, "discarded": len(dead), "messages": len(found.messages)}
        audit(connection, AuditAction.ERASE, actor, door | detail | {"left": len(found.under_way) + len(found.unsure)})
    return erased


def _erase_messages(connection: Connection, ids: Sequence[int], actor: Actor, door: dict[str, Any]) -> None:
    if ids:
        resolve.discard_messages(connection, ids, actor, door | {"for": "erase"})
        erase_messages(connection, ids)


def purge(
    engine: Engine,
    *,
    age: float,
    actor: Actor,
    door: dict[str, Any],
    tell: Callable[[Purged], object] = lambda _: None,
    go_on: Callable[[], bool] = lambda: True,
) -> tuple[Purged, bool]:
    """Remove the case data of jobs that have been final for `age` seconds, with one audit entry for the total.

    Calls `tell` with the totals after each step, and `go_on` before the next one. Returns what was removed, and whether
    nothing is left. Safe to run twice at once. Raises SQLAlchemy's errors; committed steps stay done, and are recorded
    in the audit entry if the database accepts it.
    """
    done, finished = Purged(0, 0), False
    try:
        while not finished and go_on():
            with transaction(engine) as connection:
                step = purge_due(connection, age=age, chunk=CHUNK)
            done = Purged(done.jobs + step.jobs, done.messages + step.messages)
            finished = step == Purged(0, 0)
            tell(done)
    finally:
        with transaction(engine) as connection:
            detail = {"older_than_seconds": age, "jobs": done.jobs, "messages": done.messages, "finished": finished}
            audit(connection, AuditAction.PURGE, actor, door | detail)
    return done, finished
