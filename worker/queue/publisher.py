"""Publishing ids to `cases.submit` over one connection of the dispatcher's own."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from celery import Celery
from kombu import Connection, Producer

from worker.queue.app import SUBMIT_TASK


class CeleryPublisher:
    """Sends one message per call; the connection is made on first use and again after `close`."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Connection | None = None
        self._producer: Producer | None = None

    def publish(self, job_ids: Sequence[UUID]) -> None:
        """Send one `cases.submit` message, once. Raises what kombu raises when it may not have been sent."""
        if self._producer is None:
            self._connection = self._app.connection_for_write()
            self._producer = Producer(self._connection, auto_declare=False)
        self._app.tasks[SUBMIT_TASK].apply_async(
            kwargs={"job_ids": [str(job_id) for job_id in job_ids]}, producer=self._producer, retry=False
        )

    def close(self) -> None:
        """Let go of the connection, whatever state it is in."""
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            connection.release()
