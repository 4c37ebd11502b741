"""A thread's work, done again and again until it is told to stop; what fails on the way is waited out."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

import structlog
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger(__name__)

#: Seconds to rest after trouble.
REST = 5.0


class Loop(ABC):
    """`run` is the thread. Trouble with the ledger is no fault; anything else is logged as one, under `failed`."""

    failed: str
    """The log event of a fault."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def run(self) -> None:
        """Work until told to stop."""
        while not self._stop.is_set():
            try:
                pause = self._round()
            except SQLAlchemyError as error:
                log.warning("alerts_wait_for_ledger", error=type(error).__name__)
                pause = REST
            except Exception as error:
                log.exception(self.failed, error=type(error).__name__)
                pause = REST
            self._stop.wait(pause)

    def stop(self) -> None:
        """End `run` after what is under way."""
        self._stop.set()

    @abstractmethod
    def _round(self) -> float:
        """Do what there is to do. Returns the seconds to rest after it."""
