"""Brokers as pytest-celery nodes: a Valkey or a RabbitMQ of this machine that can be killed and started again."""

from __future__ import annotations

from typing import Any

from local_servers import LocalServer, LocalValkey

from tests.support.faults.rabbitmq import LocalRabbitMQ


class BrokerNode:
    """A local server in place of the container that pytest-celery expects."""

    def __init__(self, server: LocalValkey | LocalRabbitMQ) -> None:
        self.server: LocalServer = server
        self.name = type(server).__name__
        self.url = server.url

    @property
    def id(self) -> str:
        """As a container has it."""
        return f"{self.server.port:012d}"

    @property
    def status(self) -> str:
        """`running` or `exited`."""
        process = self.server.process
        return "running" if process is not None and process.poll() is None else "exited"

    @property
    def celeryconfig(self) -> dict[str, Any]:
        """What an application needs to connect."""
        return {
            "url": self.url,
            "host_url": self.url,
            "hostname": "127.0.0.1",
            "port": self.server.port,
            "vhost": self.url.rpartition("/")[2],
        }

    def logs(self) -> str:
        """Its whole log."""
        log = self.server.folder / "server.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def ready(self) -> bool:
        """Whether it accepts connections."""
        return self.server.answers()

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """Kill it at once, whatever the signal."""
        self.server.kill()

    def restart(self, timeout: float = 10) -> None:
        """Restart it on the same port. A Valkey without persistence comes back empty."""
        self.server.stop()
        self.server.start()

    def reload(self) -> None:
        """Nothing to fetch: a server's state is known."""

    def teardown(self) -> None:
        """Nothing to remove: whoever started the server stops it."""
