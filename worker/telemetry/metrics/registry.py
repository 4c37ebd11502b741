"""One process's counters and histograms, with prometheus_client.

The processes of a prefork worker store their values in files of a shared folder (multiprocess mode). The library names
a file after the process id, so each restarted child would leave a file forever. Here a file belongs to a slot in the
pool, and a restarted child continues its predecessor's values.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, values

from worker.telemetry.metrics.definitions import MEASURED, Kind, Metric


class ProcessMetrics:
    """The values of one process. Thread-safe; must not be used on both sides of a fork."""

    def __init__(self, value_class: Any) -> None:
        self.registry = CollectorRegistry()
        # They would exist in a single process, but not in a shared folder.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library types it in part
        # The library chooses it on import by an environment variable, which is set too late.
        values.ValueClass = value_class
        self._parents = {metric.name: _create(metric, self.registry) for metric in MEASURED}
        self._children: dict[tuple[str, tuple[str, ...]], Any] = {}
        for metric in MEASURED:
            for word in metric.words:
                self.child(metric, (word,))

    def child(self, metric: Metric, labels: tuple[str, ...]) -> Any:
        """The value or set of buckets with these labels."""
        found = self._children.get((metric.name, labels))
        if found is None:
            parent = self._parents[metric.name]
            found = self._children[metric.name, labels] = parent.labels(*labels) if labels else parent
        return found


_metrics: ProcessMetrics | None = None


def count(metric: Metric, *labels: str, by: float = 1) -> None:
    """Increase a counter by `by`."""
    if _metrics is not None:
        _metrics.child(metric, labels).inc(by)


def observe(metric: Metric, seconds: float, *labels: str) -> None:
    """Add a duration to a histogram."""
    if _metrics is not None:
        _metrics.child(metric, labels).observe(seconds)


def is_enabled() -> bool:
    """Whether metrics are enabled."""
    return _metrics is not None


def enable_metrics() -> CollectorRegistry:
    """Store this process's values in memory, for a process without children. A second call does nothing."""
    global _metrics  # noqa: PLW0603 - one per process, so that callers need not pass it around
    if _metrics is None:
        _metrics = ProcessMetrics(values.MutexValue)
    return _metrics.registry


def enable_shared_metrics(folder: Path, place: Callable[[], str]) -> None:
    """Store this process's values in files of the folder; `place` returns a name that no other live process uses.

    Call it again in a child after each fork: a thread that no longer exists may have held the parent's locks.
    """
    global _metrics  # noqa: PLW0603 - as above
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    _metrics = ProcessMetrics(values.MultiProcessValue(place))  # type: ignore[no-untyped-call]  # the library types it in part


def disable_metrics() -> None:
    """Stop storing values."""
    global _metrics  # noqa: PLW0603 - as above
    _metrics = None
    values.close_all_multiprocess_files()  # type: ignore[no-untyped-call]  # the library types it in part


def _create(metric: Metric, registry: CollectorRegistry) -> Counter | Histogram:
    if metric.kind is Kind.HISTOGRAM:
        return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=registry)
    return Counter(metric.name, metric.help, metric.labels, registry=registry)
