"""Metrics. `definitions` lists them, `registry` stores this process's values, `exposition` renders them for Prometheus.

Record values with `count` and `observe`; both do nothing until `registry.enable_metrics` was called.
"""

from worker.telemetry.metrics.registry import count, observe

__all__ = ["count", "observe"]
