"""The folder in which the processes of one worker put their values together: made, and taken away, by its main process.
What a worker that was killed has left behind is taken away by the next one on this machine."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PREFIX = "case-worker-metrics-"
_LOCK = "lock"
#: Seconds after which a folder that nobody has locked is taken to be abandoned rather than just made.
_JUST_MADE = 60.0


class SharedFolder:
    """A folder of this worker's own, locked for as long as one of its processes lives."""

    def __init__(self, parent: str = "") -> None:
        """`parent`: where to make it, by default among the temporary files. Raises OSError."""
        base = Path(parent or tempfile.gettempdir())
        base.mkdir(parents=True, exist_ok=True)
        _take_away_abandoned(base)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        lock = self.path / f"{_LOCK}.new"
        self._lock = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Under its name it is locked from the beginning: another worker that starts now must not find it free.
        lock.rename(self.path / _LOCK)

    def remove(self) -> None:
        """Take it away, with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _take_away_abandoned(base: Path) -> None:
    for folder in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return time.time() - folder.stat().st_mtime > _JUST_MADE
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
