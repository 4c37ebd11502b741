"""The Celery application with its settings, and the publisher of job ids to `cases.submit`.

Celery with Redis can lose, duplicate or delay messages, so the settings keep nothing important in it.
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

#: Redis and Valkey. Half-open sockets are detected within seconds.
REDIS_OPTIONS = {
    "socket_timeout": 5,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 5,
    # A dead worker's unacked message is redelivered after this many seconds. Only cases.accept is held unacked, for
    # milliseconds (at most ACCEPT_TIMEOUT), and a second run finds the job of the first.
    "visibility_timeout": 120,
    # One worker at a time restores such messages, under a lock that expires after this many seconds if it dies.
    "unacked_mutex_expire": 10,
}
AMQP_OPTIONS = {"confirm_publish": True, "connect_timeout": 5, "read_timeout": 15, "write_timeout": 15}


def make_app(settings: Settings) -> Celery:
    """Build the application; `worker.queue.tasks` registers its tasks."""
    on_redis = not settings.broker_url.startswith(("amqp", "pyamqp"))
    arguments = {} if on_redis else {"x-queue-type": "quorum"}
    app = Celery("case-worker", broker=settings.broker_url, set_as_current=False)
    app.conf.update(
        # JSON only: a message can never execute code.
        accept_content=["json"],
        task_serializer="json",
        # The ledger is the source of truth: no results, events, Celery retries or ETA.
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        worker_send_task_events=False,
        task_publish_retry=False,
        # cases.submit is acked before it runs and nothing is prefetched, so a worker never holds messages that the
        # broker could restore. cases.accept overrides this.
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
        # Wait for an unavailable broker without limit.
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
    """Decode fractions in task messages as Decimal, so that a case from the queue keeps its exact numbers."""

    def loads(body: Any) -> Any:
        text = body if isinstance(body, (str, bytes)) else bytes(body)
        return read_json(text, where="message body", object_hook=_as_plain)

    serialization.register("json", dumps, loads, content_type="application/json", content_encoding="utf-8")


def _as_plain(value: dict[str, Any]) -> Any:
    """Unwrap values that Python's Celery clients wrap because JSON lacks them (a Decimal, a date)."""
    if value.keys() == {"__type__", "__value__"} and isinstance(value["__value__"], str):
        return Decimal(value["__value__"]) if value["__type__"] == "decimal" else value["__value__"]
    return value


class CeleryPublisher:
    """Publishes one message per call. Connects on first use, and again after `close`."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Connection | None = None
        self._producer: Producer | None = None

    def publish(self, job_ids: Sequence[UUID]) -> None:
        """Publish one `cases.submit` message, without retries. Raises kombu's errors if it may not have been sent."""
        if self._producer is None:
            self._connection = self._app.connection_for_write()
            self._producer = Producer(self._connection, auto_declare=False)
        self._app.tasks[SUBMIT_TASK].apply_async(
            kwargs={"job_ids": [str(job_id) for job_id in job_ids]}, producer=self._producer, retry=False
        )

    def close(self) -> None:
        """Release the connection, whatever its state."""
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            connection.release()
