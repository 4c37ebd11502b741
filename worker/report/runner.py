"""Run operations in the background of a long-lived process, such as the web page's."""

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

#: Longest pause in seconds between two polls, while the database rejects them.
MAX_PAUSE = 60.0


class OperationRunner:
    """Runs operations that no process holds: new ones, and those of processes that died.

    Each runs in its own thread, at most `most` at a time. A canary that waits for its jobs, which may take hours of
    retries, does not count against `most`.
    """

    def __init__(self, engine: Engine, *, most: int = 4, every: float = 2.0) -> None:
        """`every` is the polling interval in seconds."""
        self._engine = engine
        self._most = most
        self._every = every
        self.problem: str | None = None
        """Why operations cannot run now, for the readiness check, or None."""
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._running: dict[int, threading.Thread] = {}
        self._waiting: set[int] = set()
        self._poller = threading.Thread(target=self._poll, name="operations", daemon=True)

    def start(self) -> None:
        """Start polling for operations."""
        self._poller.start()

    def kick(self) -> None:
        """Poll now: an operation was just started."""
        self._wake.set()

    def stop(self, *, within: float = 10.0) -> None:
        """Finish the current chunks and leave the rest to another process. Waits at most `within` seconds."""
        self._stop.set()
        self._wake.set()
        for thread in [self._poller, *self._running.values()]:
            if thread.is_alive():
                thread.join(within)

    def _poll(self) -> None:
        pause = self._every
        while not self._stop.is_set():
            try:
                self._start_abandoned()
                self.problem, pause = None, self._every
            except SQLAlchemyError as error:
                name = type(getattr(error, "orig", None) or error).__name__
                if is_passing(error):
                    log.warning("operations_unreachable", error=name)
                else:
                    # A missing permission or table needs an operator, so keep polling, but less often.
                    self.problem, pause = name, min(2 * pause, MAX_PAUSE)
                    log.warning("operations_refused", error=name, again_in_s=round(pause, 1))
            self._wake.wait(pause)
            self._wake.clear()

    def _start_abandoned(self) -> None:
        self._running = {number: thread for number, thread in self._running.items() if thread.is_alive()}
        with transaction(self._engine) as connection:
            found = abandoned_operations(connection)
        for number in found:
            if len(self._running) - len(self._waiting) >= self._most:
                return
            if number not in self._running:
                self._running[number] = threading.Thread(
                    target=self._run, args=(number,), name=f"operation-{number}", daemon=True
                )
                self._running[number].start()

    def _run(self, number: int) -> None:
        log.info("operation_taken_up", operation=number)
        try:
            run(self._engine, number, lease=uuid4(), stopping=self._stop.is_set, sleep=partial(self._pause, number))
        except DBAPIError as error:
            log.warning("operation_interrupted", operation=number, error=type(error.orig).__name__)
            if is_passing(error):
                return  # its lease expires, and the next poll resumes it
            self._abort(number, f"the database rejected a statement ({type(error.orig).__name__})")
        except Exception as error:
            self._abort(number, f"it failed because of a bug ({type(error).__name__})")
            raise

    def _pause(self, number: int, seconds: float) -> None:
        """Sleep between two checks of a canary's jobs, without using a slot."""
        self._waiting.add(number)
        try:
            self._stop.wait(seconds)
        finally:
            self._waiting.discard(number)

    def _abort(self, number: int, why: str) -> None:
        """Stop the operation: it would fail the same way each time."""
        with transaction(self._engine) as connection:
            finish(connection, number, OperationState.STOPPED, f"{why}; earlier changes remain")
