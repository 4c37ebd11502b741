"""Child processes that are certain to end: each in a session of its own, with its output in a file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Self

PROJECT = Path(__file__).parent.parent
#: Variables that would change what a worker or a command does; ours come from us alone.
OURS = ("WORKER_", "DEBITURA_", "DATABASE_", "REDIS_", "CELERY_", "REPORT_", "LOG_TENANT", "OTEL_")


class Stopped(Exception):
    """Somebody asked us to stop: Ctrl-C, or a signal."""


class Failed(Exception):
    """Something did not work. The message says what, and `tail` holds the last lines of the log that may say why."""

    def __init__(self, what: str, log: Path | None = None, *, lines: int = 30) -> None:
        super().__init__(what)
        self.tail = ""
        if log is not None and log.exists():
            # Read now: the log goes with the folder that it is in.
            self.tail = "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


class StopSignals:
    """Notes SIGINT, SIGTERM and SIGHUP while it is entered; `check` raises.

    The handler itself raises nothing: an exception in the middle of starting a process would lose hold of it, and one
    in the middle of cleaning up would leave the rest behind. So we wait in short steps, with a `check` in between.
    """

    def __init__(self) -> None:
        self.seen: signal.Signals | None = None

    def __enter__(self) -> Self:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.seen = self.seen or signal.Signals(number)

    def check(self) -> None:
        """Raises Stopped if a signal has come."""
        if self.seen is not None:
            raise Stopped(self.seen.name)

    def rest(self, seconds: float) -> None:
        """Sleep that long, or until a signal comes. Raises Stopped."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            time.sleep(min(left, 0.05))
        self.check()


class Child:
    """One process and whatever it starts in turn. Output goes to `log`, or to ours without one."""

    def __init__(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str], log: Path | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._ended = False
        with contextlib.ExitStack() as files:
            output = files.enter_context(log.open("ab")) if log else None
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if log else None,
                env=clean_environment() | dict(environment),
                cwd=PROJECT,
                # A session of its own, so that Ctrl-C in the terminal reaches only us, and we end it in our order.
                start_new_session=True,
            )

    def require_alive(self) -> None:
        """Raises Failed when it has ended."""
        code = self.process.poll()
        if code is not None:
            raise Failed(f"{self.name} ended by itself (exit code {code})", self.log)

    def finish(self, signals: StopSignals, *, within: float) -> None:
        """Wait until it has ended well. Raises Failed when it did not, or not within that many seconds; Stopped."""
        until = time.monotonic() + within
        while (code := self.process.poll()) is None:
            if time.monotonic() > until:
                raise Failed(f"{self.name} took longer than {within:g} s", self.log)
            signals.rest(0.02)
        if code:
            raise Failed(f"{self.name} failed (exit code {code})", self.log)

    def stop(self, patience: float = 15) -> None:
        """Ask it to end; what is left of its session after that many seconds, or after its end, is killed."""
        if self._ended:
            return  # its number may be somebody else's by now
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._ended = True


def clean_environment() -> dict[str, str]:
    """The environment without settings that were meant for something else."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OURS)}


def program(name: str) -> str:
    """A command of this Python's environment."""
    return str(Path(sys.executable).parent / name)
