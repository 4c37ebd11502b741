"""Removing the case data of jobs that have been final for long enough, in small steps that hold nobody up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine

from worker.ledger.database import transaction
from worker.ledger.writer.audit import audit
from worker.ledger.writer.purge import Purged, purge_due
from worker.ledger.writer.resolve import Actor

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
            audit(connection, "purge", actor, door | detail)
    return done, finished
