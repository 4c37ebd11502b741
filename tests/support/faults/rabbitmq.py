"""A RabbitMQ of this machine, where one is installed: a node of its own, in a folder of its own, on loopback."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import psutil
import pytest
from amqp import Connection
from local_servers import LocalServer, free_port

#: Where Debian keeps the scripts that start it as the user who calls them; elsewhere they are on the PATH.
PLACES = (Path("/usr/lib/rabbitmq/bin"), Path("/usr/local/sbin"), Path("/opt/homebrew/sbin"))


def installed() -> Path | None:
    """The program that starts a RabbitMQ server, or None where there is none."""
    for place in PLACES:
        if (place / "rabbitmq-server").exists():
            return place / "rabbitmq-server"
    found = shutil.which("rabbitmq-server")
    return Path(found) if found else None


def require_rabbitmq() -> None:
    """Skip the test, and say why, where RabbitMQ is not installed."""
    if installed() is None:
        pytest.skip("nothing was tried over AMQP: there is no rabbitmq-server here (apt-get install rabbitmq-server)")


class LocalRabbitMQ(LocalServer):
    """RabbitMQ with its guest user."""

    #: An Erlang machine takes its time on two busy cores.
    patience = 60.0

    def __init__(self) -> None:
        super().__init__()
        self._distribution, self._epmd = free_port(), free_port()

    @property
    def url(self) -> str:
        """For CELERY_BROKER_URL."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def command(self) -> list[str]:
        program = installed()
        assert program is not None, "see require_rabbitmq"
        return ["env", *(f"{name}={value}" for name, value in self._environment().items()), str(program)]

    def answers(self) -> bool:
        try:
            with Connection(f"127.0.0.1:{self.port}", connect_timeout=2, read_timeout=5):
                return True
        except (OSError, ConnectionError):
            return False

    def kill(self) -> None:
        super().kill()
        self._end_port_mapper()

    def stop(self) -> None:
        # SIGINT would open the Erlang shell's menu. Its data are made to survive the harder way, too.
        self.kill()
        self.process = None

    def _environment(self) -> dict[str, str]:
        plugins = self.folder / "enabled_plugins"
        plugins.write_text("[].\n")
        return {
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"faults{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "none"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none.conf"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def _end_port_mapper(self) -> None:
        # Erlang starts its port mapper as a daemon that outlives it: ours is the one on our port.
        environment = {"ERL_EPMD_PORT": str(self._epmd)}
        for process in psutil.process_iter(["name"]):
            with contextlib.suppress(psutil.Error):
                if process.info["name"] == "epmd" and environment.items() <= process.environ().items():
                    process.kill()


def queue_depth(server: LocalRabbitMQ, queue: str) -> int:
    """Messages that wait on a queue, without those that a worker holds."""
    with Connection(f"127.0.0.1:{server.port}", connect_timeout=5) as connection, connection.channel() as channel:
        return int(channel.queue_declare(queue, passive=True).message_count)
