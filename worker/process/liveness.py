"""Liveness of a worker: heartbeats of its consumer loop and its dispatcher.

Each sends its heartbeat from its own loop. The consumer's heartbeat touches the liveness file, so that a separate timer
thread can't hide a hanging loop. Heartbeats need neither broker nor ledger: while one is unavailable, both loops keep
retrying, and a restart would not help.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from worker.errors import SettingsError
from worker.process import shutdown

log = structlog.get_logger(__name__)


class Liveness:
    """The heartbeats of one worker's main process."""

    def __init__(self, file: str, *, stale_after: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`file` is touched at each heartbeat of a healthy worker, unless empty. `stale_after` is in seconds."""
        self._file = Path(file) if file else None
        self._stale_after = stale_after
        self._clock = clock
        self._consumer_at: float | None = None
        self._dispatcher_at = 0.0
        self._dispatcher: threading.Thread | None = None
        self._file_fails = False

    def begin(self) -> None:
        """Start at the worker's start. Raises SettingsError if the file is not writable."""
        self._consumer_at = self._clock()
        if self._file is None:
            return
        try:
            # Check only that it is writable: the consumer's heartbeat creates it.
            self._file.touch()
            self._file.unlink()
        except OSError as error:
            raise SettingsError(f"WORKER_LIVENESS_FILE should name a writable file: {error.strerror}") from None

    def watch(self, dispatcher: threading.Thread) -> None:
        """Expect heartbeats from the dispatcher's thread from now on."""
        self._dispatcher_at = self._clock()
        self._dispatcher = dispatcher

    def consumer_heartbeat(self) -> None:
        """Record a heartbeat of the consumer loop, once a second."""
        self._consumer_at = self._clock()
        if self._file is not None and not self.problems():
            self._touch(self._file)

    def dispatcher_heartbeat(self) -> None:
        """Record a heartbeat of the dispatcher's loop."""
        self._dispatcher_at = self._clock()

    def problems(self) -> list[str]:
        """The missing heartbeats, described; empty if healthy or shutting down."""
        if shutdown.seconds() is not None:
            return []
        found = []
        if self._consumer_at is None:
            found.append("the worker has not started yet")
        elif (silent := self._clock() - self._consumer_at) > self._stale_after:
            found.append(f"no heartbeat of the consumer for {silent:.0f} s")
        if self._dispatcher is not None:
            if not self._dispatcher.is_alive():
                found.append("the dispatcher's thread has ended")
            elif (silent := self._clock() - self._dispatcher_at) > self._stale_after:
                found.append(f"no heartbeat of the dispatcher for {silent:.0f} s")
        return found

    def end(self) -> None:
        """Remove the file, so that a stopped worker does not look alive."""
        file, self._file = self._file, None
        if file is not None:
            file.unlink(missing_ok=True)

    def _touch(self, file: Path) -> None:
        try:
            file.touch()
            self._file_fails = False
        except OSError as error:
            if not self._file_fails:
                log.warning("liveness_file_not_written", error=type(error).__name__)
            self._file_fails = True
