"""A thread that repeats its work until stopped, and pauses after an error."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

import structlog
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger(__name__)

#: Seconds to pause after an error.
COOLDOWN = 5.0


class Loop(ABC):
    """`run` is the thread's target. A database error is logged as a warning, any other error as an exception."""

    failed: str
    """The log event for an unexpected error."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def run(self) -> None:
        """Repeat until `stop` is called."""
        while not self._stop.is_set():
            try:
                pause = self._round()
            except SQLAlchemyError as error:
                log.warning("alerts_wait_for_ledger", error=type(error).__name__)
                pause = COOLDOWN
            except Exception as error:
                log.exception(self.failed, error=type(error).__name__)
                pause = COOLDOWN
            self._stop.wait(pause)

    def stop(self) -> None:
        """Make `run` return after the current round."""
        self._stop.set()

    @abstractmethod
    def _round(self) -> float:
        """Do one round of work. Returns the seconds to pause after it."""
