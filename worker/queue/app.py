"""The Celery application with its settings, and the connection that publishes ids to `cases.submit`.

Each setting says why it is as it is: Celery with Redis loses, doubles or delays jobs unless it holds nothing that
matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from celery import Celery
from kombu import Connection, Exchange, Producer, Queue, serialization
from kombu.utils.json import dumps

from worker.case.codec import read_json
from worker.settings import Settings

INTAKE, SUBMIT = "cases.intake", "cases.submit"
ACCEPT_TASK, SUBMIT_TASK = "cases.accept", "cases.submit"

#: Redis and Valkey. A half-open socket is noticed in seconds instead of never; see also `HEALTH_CHECK`.
REDIS_OPTIONS = {
    "socket_timeout": 5,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 5,
    # A message that a dead worker held comes back after this many seconds. Only cases.accept is ever held, for
    # milliseconds (ACCEPT_PATIENCE at the worst), and a second run of it finds the job that the first one made.
    "visibility_timeout": 120,
    # One worker at a time brings such messages back, under a lock; should it die over that, the next may after as long.
    "unacked_mutex_expire": 10,
}
AMQP_OPTIONS = {"confirm_publish": True, "connect_timeout": 5, "read_timeout": 15, "write_timeout": 15}


def make_app(settings: Settings) -> Celery:
    """The application for these settings; its tasks are registered by `worker.queue.tasks`."""
    on_redis = not settings.broker_url.startswith(("amqp", "pyamqp"))
    arguments = {} if on_redis else {"x-queue-type": "quorum"}
    app = Celery("case-worker", broker=settings.broker_url, set_as_current=False)
    app.conf.update(
        # JSON only: what is on the queue can do nothing but be data.
        accept_content=["json"],
        task_serializer="json",
        # The ledger is the truth: no results, no events, no retries of Celery's own, no ETA.
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        worker_send_task_events=False,
        task_publish_retry=False,
        # cases.submit is acked before it runs and nothing is prefetched, so that a worker never holds what the broker
        # might restore. cases.accept says otherwise for itself.
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=on_redis,
        task_default_queue=INTAKE,
        task_default_exchange_type="direct",
        task_queues=[
            Queue(name, Exchange(name, type="direct"), routing_key=name, queue_arguments=arguments)
            for name in (INTAKE, SUBMIT)
        ],
        task_routes={ACCEPT_TASK: {"queue": INTAKE}, SUBMIT_TASK: {"queue": SUBMIT}},
        task_create_missing_queues=False,
        broker_transport_options=REDIS_OPTIONS if on_redis else AMQP_OPTIONS,
        broker_connection_timeout=5,
        broker_heartbeat=10,
        # A broker that is away comes back some time: wait for it, however long.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_detect_quorum_queues=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        enable_utc=True,
        timezone="UTC",
    )
    _read_numbers_exactly()
    return app


def _read_numbers_exactly() -> None:
    """Decode task messages with fractions as Decimal, so that a case from the queue keeps its numbers to the digit."""

    def loads(body: Any) -> Any:
        text = body if isinstance(body, (str, bytes)) else bytes(body)
        return read_json(text, where="message body", object_hook=_as_plain)

    serialization.register("json", dumps, loads, content_type="application/json", content_encoding="utf-8")


def _as_plain(value: dict[str, Any]) -> Any:
    """Celery clients in Python wrap what JSON does not have (a Decimal, a date); the plain value is what they meant."""
    if value.keys() == {"__type__", "__value__"} and isinstance(value["__value__"], str):
        return Decimal(value["__value__"]) if value["__type__"] == "decimal" else value["__value__"]
    return value


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
