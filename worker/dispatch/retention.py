"""The leader's nightly task: remove the case data of jobs that have been final for PURGE_AFTER.

It runs in a thread of its own, in small steps with pauses, so that it delays no dispatching.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from worker.ledger.database import transaction
from worker.ledger.queries.cases import purged_today
from worker.ledger.writer.purge import note_purged_today
from worker.ledger.writer.resolve import Actor
from worker.privacy.erase import purge

log = structlog.get_logger(__name__)

#: Seconds between two checks whether a new day has begun (UTC).
LOOK_EVERY = 60.0
#: Seconds to pause after each step.
REST = 0.1


class NightlyPurge:
    """Runs once a day while this worker leads. `look` only starts a thread; two leaders at once do no harm."""

    def __init__(
        self, engine: Engine, *, age: float | None, name: str, leads: Callable[[], bool], rest: float = REST
    ) -> None:
        """`age` is in seconds (None: nothing is ever purged); `name` is the worker's, for the audit log."""
        self._engine = engine
        self._age = age
        self._name = name
        self._leads = leads
        self._rest = rest
        self._stop = threading.Event()
        self._look_at = 0.0
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Make sure that today's purge is under way or done. Returns at once."""
        now = time.monotonic()
        if self._age is None or now < self._look_at or (self._thread and self._thread.is_alive()):
            return
        self._look_at = now + LOOK_EVERY
        self._thread = threading.Thread(target=self._run, args=(self._age,), name="nightly-purge", daemon=True)
        self._thread.start()

    def stop(self, *, within: float = 2.0) -> None:
        """End the step under way, waiting at most that many seconds. Another leader does the rest."""
        self._stop.set()
        if self._thread:
            self._thread.join(within)

    def _run(self, age: float) -> None:
        try:
            with transaction(self._engine) as connection:
                if purged_today(connection):
                    return
            done, finished = purge(
                self._engine, age=age, actor=Actor(f"dispatcher of {self._name}"), door={"door": "nightly purge"},
                go_on=self._may_go_on,
            )  # fmt: skip
            if finished:
                with transaction(self._engine) as connection:
                    note_purged_today(connection)
            log.info("cases_purged", jobs=done.jobs, messages=done.messages, finished=finished)
        except SQLAlchemyError as error:
            log.warning("purge_interrupted", error=type(error).__name__, code=error.code)

    def _may_go_on(self) -> bool:
        return not self._stop.wait(self._rest) and self._leads()
