"""Whether this worker truly lives: its consumer loop comes round, and so does its dispatcher.

Both say so themselves, each in its own thread, each time round. The consumer's beat touches the file, so that a loop
which hangs cannot be hidden by a thread that only keeps time. Neither needs the broker or the ledger for it: while one
of them is away, both loops come round trying again, and a restart would not help.
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
    """The signs of life of one worker's main process."""

    def __init__(self, file: str, *, stale_after: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`file` is touched at each beat of a worker that lives, unless it is empty. `stale_after`: seconds."""
        self._file = Path(file) if file else None
        self._stale_after = stale_after
        self._clock = clock
        self._consumer_at: float | None = None
        self._dispatcher_at = 0.0
        self._dispatcher: threading.Thread | None = None
        self._file_fails = False

    def begin(self) -> None:
        """The worker starts. Raises SettingsError when the file cannot be written."""
        self._consumer_at = self._clock()
        if self._file is None:
            return
        try:
            # Only to see whether it can be: it is the consumer that says that it lives.
            self._file.touch()
            self._file.unlink()
        except OSError as error:
            raise SettingsError(
                f"WORKER_LIVENESS_FILE should name a file that can be written: {error.strerror}"
            ) from None

    def watch(self, dispatcher: threading.Thread) -> None:
        """From now on that thread has to give signs of life too."""
        self._dispatcher_at = self._clock()
        self._dispatcher = dispatcher

    def consumer_beats(self) -> None:
        """In the consumer's loop, once a second: it came round."""
        self._consumer_at = self._clock()
        if self._file is not None and not self.trouble():
            self._touch(self._file)

    def dispatcher_beats(self) -> None:
        """In the dispatcher's thread, each time round."""
        self._dispatcher_at = self._clock()

    def trouble(self) -> list[str]:
        """What does not live, in words; nothing if all does. A worker that was told to stop may fall silent."""
        if shutdown.seconds() is not None:
            return []
        found = []
        if self._consumer_at is None:
            found.append("the worker has not started yet")
        elif (silent := self._clock() - self._consumer_at) > self._stale_after:
            found.append(f"the consumer has not come round for {silent:.0f} s")
        if self._dispatcher is not None:
            if not self._dispatcher.is_alive():
                found.append("the dispatcher's thread has ended")
            elif (silent := self._clock() - self._dispatcher_at) > self._stale_after:
                found.append(f"the dispatcher has not come round for {silent:.0f} s")
        return found

    def end(self) -> None:
        """The worker ends: nobody is to take its file for a living one's."""
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
