"""A local process in place of the container that pytest-celery expects.

pytest-celery's nodes and clusters ask little of a container, so the same scenarios run against processes here and
against containers where a Docker engine exists.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from processes import PROJECT, clean_environment

from tests.support.until import until

#: Seconds that a process gets for its start, on a machine that has other things to do.
START_PATIENCE = 40.0


class ProcessNode:
    """One process in a session of its own, which can be killed, frozen and started again."""

    #: What its log says as soon as it is ready.
    ready_prompt = ""

    def __init__(self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.command = list(command)
        self.environment = dict(environment)
        self.log = folder / f"{name}.log"
        self.log.touch()
        self._process: subprocess.Popen[bytes] | None = None
        self._log_begins = 0

    def start(self) -> None:
        """Start it (again), without waiting until it is ready."""
        self._log_begins = self.log.stat().st_size
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=clean_environment() | self.environment,
                cwd=PROJECT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process's id, which is its group's as well."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    @property
    def id(self) -> str:
        """As a container has it."""
        return f"{self.pid:012d}"

    @property
    def status(self) -> str:
        """`running` or `exited`."""
        return "running" if self._process is not None and self._process.poll() is None else "exited"

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return None if self._process is None else self._process.poll()

    @property
    def celeryconfig(self) -> dict[str, Any]:
        """This node's settings for pytest-celery's app."""
        return {}

    def logs(self) -> str:
        """Its whole log, over all its starts."""
        return self.log.read_text(errors="replace")

    def said(self) -> str:
        """Its log since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_begins)
            return log.read().decode(errors="replace")

    def ready(self) -> bool:
        """Wait until it is ready. Raises AssertionError with the end of its log when it ends instead."""

        def is_ready() -> bool:
            assert self.status == "running", f"{self.name} ended ({self.exit_code}):\n{self.said()[-3000:]}"
            return self.ready_prompt in self.said()

        until(f"{self.name} is ready", is_ready, within=START_PATIENCE, but=lambda: self.said()[-3000:])
        return True

    def family(self) -> list[psutil.Process]:
        """The processes that it has started, and theirs."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """Send a signal to it; SIGKILL, SIGSTOP and SIGCONT reach its children too, as they would in a container."""
        number = _number(signal)
        if number in (_number("SIGKILL"), _number("SIGSTOP"), _number("SIGCONT")):
            self._signal_group(number)
        elif self.status == "running":
            os.kill(self.pid, number)
        if number == _number("SIGKILL"):
            assert self._process is not None
            self._process.wait()

    def wait(self, timeout: float) -> int:
        """Wait for its end. Returns its exit code; raises subprocess.TimeoutExpired."""
        assert self._process is not None
        return self._process.wait(timeout)

    def stop(self, timeout: float = 20) -> None:
        """End it gently; by force after that many seconds."""
        if self.status == "running":
            self.kill("SIGTERM")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(timeout)
        if self._process is not None:
            self.kill("SIGKILL")

    def restart(self, timeout: float = 20) -> None:
        """End it, start it again, and wait until it is ready."""
        self.stop(timeout)
        self.start()
        self.ready()

    def reload(self) -> None:
        """Nothing to fetch: a process's state is known."""

    def teardown(self) -> None:
        """End it and its children, whatever state they are in."""
        if self._process is not None:
            self.kill("SIGKILL")

    def exec_run(self, command: str) -> tuple[int, bytes]:
        """Run a shell command in its environment. Returns exit code and output."""
        ran = subprocess.run(
            command,
            shell=True,
            cwd=PROJECT,
            env=clean_environment() | self.environment,
            capture_output=True,
            check=False,
        )
        return ran.returncode, ran.stdout

    def _signal_group(self, number: int) -> None:
        # The group lives as long as one of its processes does; its id cannot be taken by another until then.
        if self.status == "running" or self._has_orphans():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def _has_orphans(self) -> bool:
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getpgid(process.pid) == self.pid and os.getsid(process.pid) == self.pid:
                    return True
        return False


def _number(name: str | int) -> int:
    return int(name) if isinstance(name, int) else int(getattr(signal, name))
