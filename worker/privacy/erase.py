"""Erasing what is kept of a data subject: from jobs that are done, and from dead ones, which are given up with it."""

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

#: Jobs in one transaction at most.
CHUNK = 200


@dataclass(slots=True)
class Erasure:
    """What belongs to the subject, sorted by what can be done."""

    final: list[UUID] = field(default_factory=list)
    dead: list[UUID] = field(default_factory=list)
    """They are discarded first."""
    erased_before: int = 0
    under_way: list[tuple[UUID, str]] = field(default_factory=list)
    """Jobs that may still be submitted, with their states: left alone."""
    unsure: list[tuple[UUID, str]] = field(default_factory=list)
    """Jobs whose case cannot be opened to see whether they are the subject's, and why: left alone."""
    messages: list[int] = field(default_factory=list)
    """Unreadable messages, by their dead letters."""
    late: list[UUID] = field(default_factory=list)
    """Found, but moved by somebody else before it was their turn."""


def look(connection: Connection, subject: Subject, protection: Protection) -> Erasure:
    """What an erasure would do."""
    found = Erasure()
    for match in matching_jobs(connection, subject, protection):
        job = match.job
        if match.unsure:
            found.unsure.append((job.id, match.unsure))
        elif job.purged_at is not None:
            found.erased_before += 1
        elif job.state in FINAL_STATES:
            found.final.append(job.id)
        elif job.state == State.DEAD:
            found.dead.append(job.id)
        else:
            found.under_way.append((job.id, job.state))
    found.messages = [message.dead_letter_id for message in matching_messages(connection, subject, protection)]
    return found


def erase(engine: Engine, found: Erasure, *, actor: Actor, door: dict[str, Any], subject: dict[str, Any]) -> int:
    """Erase what was found, in small transactions. Returns how many jobs were erased; `found.late` are the others.

    `subject` says for the audit log whom it was about. Each job has an entry of its own; the last one tells the whole.
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


#: Jobs in one transaction at most.
CHUNK = 200


def purge(
    engine: Engine,
    *,
    age: float,
    actor: Actor,
    door: dict[str, Any],
    tell: Callable[[Purged], object] = lambda _: None,
    go_on: Callable[[], bool] = lambda: True,
) -> tuple[Purged, bool]:
    """Remove the case data of what has been final for `age` seconds; one audit entry says how much.

    `tell` is given the sums so far after each step, and `go_on` is asked before the next one. Returns what was removed,
    and whether nothing is left. Two at once do no harm. Raises SQLAlchemy's errors; what is committed stays done, and
    is in the audit entry all the same where the database takes it.
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
