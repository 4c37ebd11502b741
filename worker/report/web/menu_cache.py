"""What the filter's menus offer, read again for each page, or now and then where there is much to read."""

from __future__ import annotations

import threading
import time

from sqlalchemy import Connection

from worker.ledger import queries
from worker.ledger.queries import Menus

#: Seconds that reading may take each time, and for which a slower answer is kept. A menu may be a little behind: what
#: is not in it can still be typed into the address, and what has gone finds nothing.
QUICK, KEPT = 0.03, 30.0


class MenuCache:
    """One process's memory of the menus."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: Menus | None = None
        self._until = 0.0

    def read(self, connection: Connection) -> Menus:
        """The menus as they are, or were at most KEPT seconds ago."""
        with self._lock:
            if self._kept and time.monotonic() < self._until:
                return self._kept
        began = time.monotonic()
        found = queries.menus(connection)
        took = time.monotonic() - began
        with self._lock:
            self._kept, self._until = found, time.monotonic() + (KEPT if took > QUICK else 0)
        return found
