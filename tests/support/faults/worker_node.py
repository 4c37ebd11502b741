"""A real Celery worker as a process: `celery -A … worker`, as a deployment starts it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import celery
import psutil
from processes import program

from tests.support.faults.process_node import ProcessNode

#: The worker's own application, and the one with stop points in it.
PLAIN_APP, STOPPABLE_APP = "worker", "tests.support.faults.stop_points"


class WorkerNode(ProcessNode):
    """One worker with two slots."""

    ready_prompt = " ready."

    def __init__(
        self,
        name: str,
        folder: Path,
        environment: Mapping[str, str],
        *,
        pool: str = "prefork",
        app: str = STOPPABLE_APP,
    ) -> None:
        command = [
            program("celery"), "-A", app, "worker", "--pool", pool, "--concurrency", "2", "--loglevel", "INFO",
            "--hostname", f"{name}@%h", "--without-gossip", "--without-mingle",
        ]  # fmt: skip
        super().__init__(name, command, folder, environment)
        self.pool = pool

    def children(self) -> list[psutil.Process]:
        """The prefork children; none with threads."""
        return self.family()

    def worker_name(self) -> str:
        """For pytest-celery."""
        return self.name

    def worker_queue(self) -> str:
        """For pytest-celery."""
        return "cases.submit"

    def version(self) -> str:
        """For pytest-celery."""
        return str(celery.__version__)

    def log_level(self) -> str:
        """For pytest-celery."""
        return "INFO"
