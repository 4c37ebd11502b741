"""Cache the options of the filter's menus when reading them is slow."""

from __future__ import annotations

import threading
import time

from sqlalchemy import Connection

from worker.ledger import queries
from worker.ledger.queries import Menus

#: Seconds above which a read counts as slow, and for which its result is cached. A menu may be slightly stale: a
#: missing value can still be typed into the address, and a removed one finds nothing.
QUICK, KEPT = 0.03, 30.0


class MenuCache:
    """One process's cached menus."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: Menus | None = None
        self._until = 0.0

    def read(self, connection: Connection) -> Menus:
        """The menus, at most KEPT seconds old."""
        with self._lock:
            if self._kept and time.monotonic() < self._until:
                return self._kept
        began = time.monotonic()
        found = queries.menus(connection)
        took = time.monotonic() - began
        with self._lock:
            self._kept, self._until = found, time.monotonic() + (KEPT if took > QUICK else 0)
        return found
