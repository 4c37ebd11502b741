"""All metrics in Prometheus' text format, and the folder in which a worker's processes put them together.

The main process makes the folder and removes it. What a killed worker left behind is removed by the next one on this
machine.
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


class _All(Collector):
    def __init__(self, collectors: Iterable[Collector]) -> None:
        self._collectors = tuple(collectors)

    def collect(self) -> Iterable[Metric]:
        for collector in self._collectors:
            yield from collector.collect()


def write_down(collectors: Iterable[Collector], accept: str | None) -> tuple[bytes, str]:
    """The text and its content type, in the form that the Accept header asks for."""
    encode, content_type = choose_encoder(accept or "")
    return encode(_All(collectors)), content_type


def shared(folder: Path) -> Collector:
    """The values of all processes that share that folder, each counter and histogram summed up."""
    collector: Collector = MultiProcessCollector(None, path=str(folder))  # type: ignore[no-untyped-call]  # the library types it in part
    return collector


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
