"""Settings for operating the fleet, separate from those for submitting cases."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from worker.environment import parse_whole, setting_text
from worker.errors import SettingsError

DEFAULT_METRICS_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """How a worker is monitored, and how many workers are wanted. Durations are in seconds."""

    metrics_port: int | None
    """None: a worker serves no metrics and no health checks."""
    metrics_host: str
    metrics_folder: str
    """Where a worker creates the directory that its processes share; empty: in the temporary directory."""
    liveness_file: str
    """Empty: none."""
    liveness: float
    """A worker without a sign of life for this long counts as hung."""
    concurrency: int
    """Child processes of one worker, as given on its command line."""
    scaling_minimum: int
    """Workers to keep while there is nothing to do."""
    scaling_drain: float
    """How soon a backlog should be finished, rate limits permitting."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> FleetSettings:
        """Read the settings. Raises SettingsError, one line that names the variable and what it should be."""
        env = os.environ if environ is None else environ
        port = setting_text(env, "WORKER_METRICS_PORT")
        return cls(
            metrics_port=_whole(env, "WORKER_METRICS_PORT", 0, at_least=0, at_most=65_535) if port else None,
            metrics_host=setting_text(env, "WORKER_METRICS_HOST") or DEFAULT_METRICS_HOST,
            metrics_folder=env.get("PROMETHEUS_MULTIPROC_DIR", "").strip(),
            liveness_file=env.get("WORKER_LIVENESS_FILE", "").strip(),
            liveness=_seconds(env, "WORKER_LIVENESS_SECONDS", 60),
            concurrency=_whole(env, "WORKER_CONCURRENCY", 2, at_least=1, at_most=1000),
            scaling_minimum=_whole(env, "WORKER_SCALING_MINIMUM", 0, at_least=0, at_most=10_000),
            scaling_drain=_seconds(env, "WORKER_SCALING_DRAIN_SECONDS", 60),
        )


def _whole(environ: Mapping[str, str], name: str, default: int, *, at_least: int, at_most: int) -> int:
    return parse_whole(name, setting_text(environ, name), default, at_least=at_least, at_most=at_most)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = setting_text(environ, name)
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 1 <= value <= 86_400:
        raise SettingsError(f"{name} should be a number of seconds from 1 to 86400, not {text!r}")
    return value
