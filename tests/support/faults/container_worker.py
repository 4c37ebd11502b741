"""The worker of the project's own image in a container, on the host's network, for machines with a Docker engine."""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from processes import PROJECT

from tests.support.faults.worker_node import WorkerNode

IMAGE = "case-worker:faults"


def why_no_engine() -> str | None:
    """What is missing for containers here; None when nothing is."""
    if shutil.which("docker") is None:
        return "the cluster's scenarios were not run in containers: there is no docker command on this machine"
    asked = subprocess.run(
        ["docker", "info", "--format", "{{.ServerVersion}}"], capture_output=True, text=True, check=False
    )
    if asked.returncode or not asked.stdout.strip():
        said = asked.stderr.strip()[:120]
        return f"the cluster's scenarios were not run in containers: no Docker engine answers here ({said})"
    return None


@functools.cache
def build() -> None:
    """Build the image from the project's Dockerfile. Raises CalledProcessError."""
    subprocess.run(["docker", "build", "--quiet", "--tag", IMAGE, str(PROJECT)], check=True)


class ContainerWorker(WorkerNode):
    """The process here is the docker client, attached to its container; signals go to the container."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str], *, pool: str, app: str) -> None:
        super().__init__(name, folder, environment, pool=pool, app=app)
        self._worker = ["celery", *self.command[1:]]
        self._settings = dict(environment)
        self._container = ""

    def start(self) -> None:
        """Run a new container."""
        build()
        self._container = f"faults-{self.name}-{uuid4().hex[:8]}"
        settings = [part for name, value in self._settings.items() for part in ("--env", f"{name}={value}")]
        run = ["docker", "run", "--rm", "--init", "--network", "host", "--name", self._container, *settings]
        self.command = [*run, IMAGE, *self._worker]
        super().start()

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """Send a signal to the container; SIGKILL, SIGSTOP and SIGCONT reach all of its processes."""
        verb = {"SIGSTOP": ["pause"], "SIGCONT": ["unpause"]}.get(str(signal), ["kill", "--signal", str(signal)])
        with contextlib.suppress(subprocess.CalledProcessError):  # it has ended already
            subprocess.run(["docker", *verb, self._container], check=True, capture_output=True)
        if signal == "SIGKILL":
            super().kill("SIGKILL")
