"""Render metrics in Prometheus' text format, and manage the folder that a worker's processes share.

The main process creates and removes the folder. The next worker on this machine removes the folder of a killed one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector


class _Combined(Collector):
    def __init__(self, collectors: Iterable[Collector]) -> None:
        self._collectors = tuple(collectors)

    def collect(self) -> Iterable[Metric]:
        for collector in self._collectors:
            yield from collector.collect()


def render(collectors: Iterable[Collector], accept: str | None) -> tuple[bytes, str]:
    """The metrics' text and content type, in the format of the Accept header."""
    encode, content_type = choose_encoder(accept or "")
    return encode(_Combined(collectors)), content_type


def shared(folder: Path) -> Collector:
    """A collector that sums the values of all processes that share the folder."""
    collector: Collector = MultiProcessCollector(None, path=str(folder))  # type: ignore[no-untyped-call]  # the library types it in part
    return collector


PREFIX = "case-worker-metrics-"
_LOCK = "lock"
#: Seconds after which an unlocked folder counts as abandoned, not as just created.
_CREATION_GRACE = 60.0


class SharedFolder:
    """This worker's folder, locked as long as one of its processes lives."""

    def __init__(self, parent: str = "") -> None:
        """`parent`: where to create it, by default the temporary directory. Raises OSError."""
        base = Path(parent or tempfile.gettempdir())
        base.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(base)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        lock = self.path / f"{_LOCK}.new"
        self._lock = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Lock first, then rename: a worker that starts now must not find the lock free.
        lock.rename(self.path / _LOCK)

    def remove(self) -> None:
        """Remove the folder and its content."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _remove_abandoned(base: Path) -> None:
    for folder in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return time.time() - folder.stat().st_mtime > _CREATION_GRACE
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
