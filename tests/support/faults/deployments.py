"""Stages with servers that a test may kill."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from local_servers import LocalPostgres, LocalValkey

from tests.support.faults.rabbitmq import LocalRabbitMQ
from tests.support.faults.stage import Stage, prepare_ledger


class Deployments:
    """Makes stages that live as long as they are entered, each with a Valkey of its own."""

    def __init__(self, folder: Path, postgres: LocalPostgres) -> None:
        self._folder, self._postgres = folder, postgres
        self._numbers = count(1)
        self._guard = threading.Lock()

    @contextmanager
    def open(self, *, own_postgres: bool = False, over_amqp: bool = False, **options: Any) -> Iterator[Stage]:
        """One stage, with a PostgreSQL of its own where that is to be killed; over a RabbitMQ where that is asked."""
        with self._guard:
            folder = self._folder / f"stage{next(self._numbers)}"
        folder.mkdir()
        with ExitStack() as servers:
            postgres = self._postgres
            if own_postgres:
                postgres = servers.enter_context(LocalPostgres(durable=True))
                prepare_ledger(postgres)
            valkey = servers.enter_context(LocalValkey())
            rabbitmq = servers.enter_context(LocalRabbitMQ()) if over_amqp else None
            yield servers.enter_context(Stage(folder, postgres=postgres, valkey=valkey, rabbitmq=rabbitmq, **options))
