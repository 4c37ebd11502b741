"""A worker works on no database whose schema does not suit its code: it says so in one line, and ends with code 2.

A database that is away at the worker's start is waited for, as always; then it is looked at as soon as it answers, and
nothing is dispatched, claimed or taken in before that.
"""

from __future__ import annotations

import sys
import threading

from celery.worker import state
from sqlalchemy.exc import SQLAlchemyError

from worker.errors import SchemaMismatch
from worker.ledger.database import get_engine
from worker.ledger.migrate import require_suitable

#: The process's exit code, as for a wrong setting.
EXIT_CODE = 2


class SchemaGate:
    """Open once this process has seen that the ledger's schema suits its code."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._open = False
        self._told = threading.Lock()

    def begin(self) -> None:
        """At a worker's start. Ends the process if the schema does not suit; a database that is away is waited for."""
        try:
            self.require()
        except SchemaMismatch as error:
            _tell(error)
            sys.exit(EXIT_CODE)
        except SQLAlchemyError:
            return  # the dispatcher says that it waits, and asks again

    def require(self) -> None:
        """Look, unless it has been seen. Raises SchemaMismatch, and SQLAlchemy's errors while the ledger is away."""
        if not self._open:
            require_suitable(get_engine(self._database_url))
            self._open = True

    def passes(self) -> bool:
        """In the worker's main process: look, and have the whole worker end if the schema does not suit.

        Raises SQLAlchemy's errors while the ledger is away.
        """
        try:
            self.require()
        except SchemaMismatch as error:
            if self._told.acquire(blocking=False):
                _tell(error)
            # Celery's own way for a thread to end its worker: the consumer sees it and shuts down with that code.
            state.should_stop = EXIT_CODE
            return False
        return True


def _tell(error: SchemaMismatch) -> None:
    sys.stderr.write(f"case-worker: {error}\n")
    sys.stderr.flush()
