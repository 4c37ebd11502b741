"""All that it takes, on this machine: PostgreSQL, Valkey, the sandbox for both APIs, and the worker itself."""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from local_servers import LocalPostgres, LocalValkey
from processes import Child, Failed, StopSignals, program

API_KEY = "sandbox-partner-key"


class LocalStack:
    """The servers, started in order and ended in reverse order, whatever happens."""

    def __init__(self, signals: StopSignals, *, settings: dict[str, str] | None = None, durable: bool = False) -> None:
        """`settings` are more variables for the environment, such as WORKER_MAX_ATTEMPTS.

        With `durable`, PostgreSQL waits for the disk as in production; without, it is quicker to start and stop.
        """
        self._durable = durable
        self._signals = signals
        self._ends = ExitStack()
        self._settings = settings or {}
        self.environment: dict[str, str] = {}
        self.children: list[Child] = []
        self._started = 0

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._ends.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._ends.close()

    def _start(self) -> None:
        self.folder = Path(self._ends.enter_context(tempfile.TemporaryDirectory(prefix="case-worker-logs-")))
        self.postgres = self._ends.enter_context(LocalPostgres(durable=self._durable))
        self._signals.check()
        self.valkey = self._ends.enter_context(LocalValkey())
        self._signals.check()
        sandbox = self.start("the sandbox", [sys.executable, "-m", "worker.sandbox", "--port", "0"])
        self.sandbox_url = self.await_words(sandbox, "listening on ")
        self.environment = {
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.valkey.url,
            "DEBITURA_API_KEY": API_KEY,
            "DEBITURA_REFERRAL_API_URL": self.sandbox_url,
            "DEBITURA_CUSTOMER_API_URL": self.sandbox_url,
            **self._settings,
        }

    def start(self, name: str, command: list[str], **more: str) -> Child:
        """Start a process in the stack's environment; it ends with the stack."""
        self._started += 1
        log = self.folder / f"{self._started}.log"
        # What a process that is killed leaves behind among the temporary files goes with our folder.
        child = Child(name, command, environment=self.environment | more | {"TMPDIR": str(self.folder)}, log=log)
        self._ends.callback(child.stop)
        self.children.append(child)
        return child

    def end(self, child: Child) -> None:
        """End a process before the stack ends."""
        child.stop()
        self.children.remove(child)

    def run(self, name: str, command: list[str], *, within: float = 30, show: bool = False) -> None:
        """Run a command to its end; its output is shown, or kept for the case that it fails. Raises Failed, Stopped."""
        log = None if show else self.folder / "command.log"
        child = Child(name, command, environment=self.environment, log=log)
        try:
            child.finish(self._signals, within=within)
        finally:
            child.stop()

    def migrate(self) -> None:
        """Bring the database to the newest schema."""
        self.run("case-worker migrate", [program("case-worker"), "migrate"])

    def start_worker(self, *, concurrency: int = 2) -> Child:
        """Start a real Celery worker."""
        command = [program("celery"), "-A", "worker", "worker", "-c", str(concurrency), "--loglevel", "INFO"]
        return self.start("the Celery worker", [*command, "--without-gossip", "--without-mingle"])

    def require_alive(self) -> None:
        """Raises Failed when one of the processes has ended by itself."""
        for child in self.children:
            child.require_alive()
        for server in (self.postgres, self.valkey):
            if server.process is None or server.process.poll() is not None:
                raise Failed(f"{type(server).__name__} ended by itself", server.folder / "server.log")

    def await_words(self, child: Child, words: str) -> str:
        """What follows those words in the child's output, as soon as they are there."""
        assert child.log is not None
        until = time.monotonic() + 20
        while True:
            for line in child.log.read_text(errors="replace").splitlines(keepends=True):
                if words in line and line.endswith("\n"):
                    return line.partition(words)[2].strip()
            child.require_alive()
            if time.monotonic() > until:
                raise Failed(f"{child.name} did not start within 20 s", child.log)
            self._signals.rest(0.02)
