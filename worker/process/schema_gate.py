"""Stop a worker with exit code 2 and one line if the database's schema is not compatible with its code.

If the database is unreachable at the start, the worker waits and checks as soon as it responds. It dispatches, claims
and accepts nothing before the check.
"""

from __future__ import annotations

import sys
import threading

from celery.worker import state
from sqlalchemy.exc import SQLAlchemyError

from worker.errors import SchemaMismatch
from worker.ledger.database import get_engine
from worker.ledger.migrate import require_suitable

#: The exit code, as for a wrong setting.
EXIT_CODE = 2


class SchemaGate:
    """Opens once this process has checked that the ledger's schema is compatible."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._open = False
        self._reported = threading.Lock()

    def check_at_start(self) -> None:
        """Check at the worker's start.

        Exits if the schema is incompatible; does nothing if the database is unreachable.
        """
        try:
            self.require()
        except SchemaMismatch as error:
            _report(error)
            sys.exit(EXIT_CODE)
        except SQLAlchemyError:
            return  # the dispatcher logs that it waits, and checks again

    def require(self) -> None:
        """Check once. Raises SchemaMismatch, and SQLAlchemy's errors if the ledger is unreachable."""
        if not self._open:
            require_suitable(get_engine(self._database_url))
            self._open = True

    def passes(self) -> bool:
        """Check in the worker's main process, and stop the whole worker if the schema is incompatible.

        Raises SQLAlchemy's errors if the ledger is unreachable.
        """
        try:
            self.require()
        except SchemaMismatch as error:
            if self._reported.acquire(blocking=False):
                _report(error)
            # Celery's way to stop the worker from a thread: the consumer exits with this code.
            state.should_stop = EXIT_CODE
            return False
        return True


def _report(error: SchemaMismatch) -> None:
    sys.stderr.write(f"case-worker: {error}\n")
    sys.stderr.flush()
