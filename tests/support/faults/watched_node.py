"""A worker that is watched: it serves its metrics and its health, and keeps a liveness file."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.support.faults.worker_node import WorkerNode
from tests.support.until import until

_PORT = re.compile(r'"port": (\d+).*"event": "metrics_served"')


class WatchedNode(WorkerNode):
    """A worker with a port of its own."""

    #: Seconds without a sign of life, after which it is taken to hang.
    stale_after = 2.0

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str], **options: Any) -> None:
        self.file = folder / f"{name}.alive"
        self.values_folder = folder / f"{name}.values"
        watched = {
            "WORKER_METRICS_PORT": "0",
            "WORKER_LIVENESS_FILE": str(self.file),
            "WORKER_LIVENESS_SECONDS": f"{self.stale_after:g}",
            "PROMETHEUS_MULTIPROC_DIR": str(self.values_folder),
        }
        super().__init__(name, folder, {**environment, **watched}, **options)

    def ask(self, path: str) -> requests.Response:
        """Ask its main process."""
        port = until(f"{self.name} says its port", lambda: _PORT.search(self.said()), within=20, but=self.said)
        assert port is not None
        return requests.get(f"http://127.0.0.1:{port[1]}{path}", timeout=10)

    def metrics(self) -> dict[str, float]:
        """Its samples, as `name{label="value"}`."""
        answer = self.ask("/metrics")
        assert answer.status_code == 200, answer.text
        samples = [s for family in text_string_to_metric_families(answer.text) for s in family.samples]
        return {_written(sample.name, sample.labels): sample.value for sample in samples}

    def touched_at(self) -> float:
        """When its file was touched last."""
        return self.file.stat().st_mtime

    def is_stale(self) -> bool:
        """What a container's health check finds out."""
        return time.time() - self.touched_at() > self.stale_after


class PatientNode(WatchedNode):
    """One that is given longer than it takes to find out that the broker cannot be reached."""

    stale_after = 12.0


def _written(name: str, labels: Mapping[str, str]) -> str:
    said = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{said}}}" if said else name
