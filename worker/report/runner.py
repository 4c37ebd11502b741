"""Carrying out operations in the background of a process that goes on living, such as the web page's."""

from __future__ import annotations

import threading
from functools import partial
from uuid import uuid4

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from worker.ledger.database import is_passing, transaction
from worker.ledger.queries import abandoned_operations
from worker.ledger.states import OperationState
from worker.ledger.writer.operations import finish
from worker.report.operations import run

log = structlog.get_logger(__name__)

#: Seconds between two looks at most, while the database refuses them.
LONGEST_PAUSE = 60.0


class OperationRunner:
    """Takes up running operations that nobody carries out, its own process's and those of processes that died.

    Each gets a thread of its own; at most `most` act at a time, the others when it is their turn. A canary that waits
    for its jobs, which may take hours of retries, keeps nobody from theirs.
    """

    def __init__(self, engine: Engine, *, most: int = 4, every: float = 2.0) -> None:
        """`every` is in seconds: how soon an operation of a dead process is noticed once its lease is over."""
        self._engine = engine
        self._most = most
        self._every = every
        self.trouble: str | None = None
        """Why operations are not taken up just now, for whoever looks after the process; None: they are."""
        self._stop = threading.Event()
        self._look = threading.Event()
        self._running: dict[int, threading.Thread] = {}
        self._waiting: set[int] = set()
        self._watcher = threading.Thread(target=self._watch, name="operations", daemon=True)

    def start(self) -> None:
        """Begin to look for operations."""
        self._watcher.start()

    def kick(self) -> None:
        """Look at once: an operation was just started."""
        self._look.set()

    def stop(self, *, within: float = 10.0) -> None:
        """Finish the chunks under way and leave the rest to another process. Waits at most that many seconds."""
        self._stop.set()
        self._look.set()
        for thread in [self._watcher, *self._running.values()]:
            if thread.is_alive():
                thread.join(within)

    def _watch(self) -> None:
        pause = self._every
        while not self._stop.is_set():
            try:
                self._take_up()
                self.trouble, pause = None, self._every
            except SQLAlchemyError as error:
                name = type(getattr(error, "orig", None) or error).__name__
                if is_passing(error):
                    log.warning("operations_unreachable", error=name)
                else:
                    # A missing right or table does not fix itself, but somebody may fix it while we look on.
                    self.trouble, pause = name, min(2 * pause, LONGEST_PAUSE)
                    log.warning("operations_refused", error=name, again_in_s=round(pause, 1))
            self._look.wait(pause)
            self._look.clear()

    def _take_up(self) -> None:
        self._running = {number: thread for number, thread in self._running.items() if thread.is_alive()}
        with transaction(self._engine) as connection:
            found = abandoned_operations(connection)
        for number in found:
            if len(self._running) - len(self._waiting) >= self._most:
                return
            if number not in self._running:
                self._running[number] = threading.Thread(
                    target=self._carry_out, args=(number,), name=f"operation-{number}", daemon=True
                )
                self._running[number].start()

    def _carry_out(self, number: int) -> None:
        log.info("operation_taken_up", operation=number)
        try:
            run(self._engine, number, lease=uuid4(), stopping=self._stop.is_set, sleep=partial(self._rest, number))
        except DBAPIError as error:
            log.warning("operation_interrupted", operation=number, error=type(error.orig).__name__)
            if is_passing(error):
                return  # its lease runs out, and whoever looks next goes on with it
            self._give_up(number, f"the database refused a statement ({type(error.orig).__name__})")
        except Exception as error:
            self._give_up(number, f"it failed by a mistake in the program ({type(error).__name__})")
            raise

    def _rest(self, number: int, seconds: float) -> None:
        """Between two looks at a canary's jobs."""
        self._waiting.add(number)
        try:
            self._stop.wait(seconds)
        finally:
            self._waiting.discard(number)

    def _give_up(self, number: int, why: str) -> None:
        """What fails in the same way each time must not be taken up for ever."""
        with transaction(self._engine) as connection:
            finish(connection, number, OperationState.STOPPED, f"{why}; what was done until then stays done")
