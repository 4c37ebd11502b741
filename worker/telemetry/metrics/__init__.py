"""What this process measures. `catalog` lists every metric, `book` keeps the values, `folder` is where the processes of
one worker put them together, `exposition` writes them down for Prometheus.

Whoever does the work says so with `count` and `observe`; both do nothing until `book.open_book` was called, so that a
process which nobody asks pays nothing.
"""

from worker.telemetry.metrics.registry import count, observe

__all__ = ["count", "observe"]
