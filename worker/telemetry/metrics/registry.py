"""One process's counters and histograms, in prometheus_client's forms.

The processes of one prefork worker keep theirs in files of a shared folder (prometheus_client's multiprocess mode). The
library names a file after its process's id, so that each child that is started again would leave one for ever. Here a
file belongs to a place in the pool: whoever comes after goes on with its predecessor's numbers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, values

from worker.telemetry.metrics.definitions import MEASURED, Kind, Metric


class Book:
    """The values of one process. Safe for many threads, and never to be used on both sides of a fork."""

    def __init__(self, value_class: Any) -> None:
        self.registry = CollectorRegistry()
        # They would be there in a process of its own, and missing in a shared folder.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library types it in part
        # The library chooses it at its import, by an environment variable that is not set by then.
        values.ValueClass = value_class
        self._parents = {metric.name: _made(metric, self.registry) for metric in MEASURED}
        self._children: dict[tuple[str, tuple[str, ...]], Any] = {}
        for metric in MEASURED:
            for word in metric.words:
                self.child(metric, (word,))

    def child(self, metric: Metric, labels: tuple[str, ...]) -> Any:
        """The one value, or set of buckets, with these labels."""
        found = self._children.get((metric.name, labels))
        if found is None:
            parent = self._parents[metric.name]
            found = self._children[metric.name, labels] = parent.labels(*labels) if labels else parent
        return found


_book: Book | None = None


def count(metric: Metric, *labels: str, by: float = 1) -> None:
    """That happened, once or `by` times."""
    if _book is not None:
        _book.child(metric, labels).inc(by)


def observe(metric: Metric, seconds: float, *labels: str) -> None:
    """That took so many seconds."""
    if _book is not None:
        _book.child(metric, labels).observe(seconds)


def is_open() -> bool:
    """Whether anything is kept at all."""
    return _book is not None


def open_book() -> CollectorRegistry:
    """Keep this process's values in its own memory: for a process without children. A second call changes nothing."""
    global _book  # noqa: PLW0603 - the process has one, and whoever counts should not have to carry it
    if _book is None:
        _book = Book(values.MutexValue)
    return _book.registry


def open_shared_book(folder: Path, place: Callable[[], str]) -> None:
    """Keep this process's values in files of that folder, under a name that no living process shares.

    Also for a child, after each fork: the parent's locks may have been held by a thread that is not there any more.
    """
    global _book  # noqa: PLW0603 - as above
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    _book = Book(values.MultiProcessValue(place))  # type: ignore[no-untyped-call]  # the library types it in part


def close_book() -> None:
    """Keep nothing any more."""
    global _book  # noqa: PLW0603 - as above
    _book = None
    values.close_all_multiprocess_files()  # type: ignore[no-untyped-call]  # the library types it in part


def _made(metric: Metric, registry: CollectorRegistry) -> Counter | Histogram:
    if metric.kind is Kind.HISTOGRAM:
        return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=registry)
    return Counter(metric.name, metric.help, metric.labels, registry=registry)
