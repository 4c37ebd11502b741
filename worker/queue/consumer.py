"""A Celery consumer that checks each message before Celery does, so that none can crash it or get lost.

Overrides internals of celery 5.7.0 and kombu 5.7.0: both are pinned, and a test fails if they change.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from celery.worker.consumer import Consumer
from kombu import Message
from kombu.utils.json import dumps

from worker.case.protection import Protection
from worker.queue.malformed_messages import DeadLetterSink, problem_with, truncated

log = structlog.get_logger(__name__)

#: Seconds between two checks for a free thread.
FREE_SLOT_POLL_SECONDS = 0.02
#: Seconds between two heartbeats.
HEARTBEAT_SECONDS = 1.0


class CaseConsumer(Consumer):  # type: ignore[misc]  # celery has no types
    """Celery's consumer with a check before each message."""

    #: Set by `make_consumer`.
    sink: DeadLetterSink
    heartbeat: Callable[[], None]

    def __init__(self, *args: Any, **options: Any) -> None:
        """Disable Celery's heartbeat events: they are unused, and sending one to an unresponsive broker would block the
        loop."""
        super().__init__(*args, **{**options, "without_heartbeat": True})

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, retrying every few seconds without limit: Celery's own pause grows to 30 s.

        A worker that waits for its broker is alive, so send a heartbeat with each attempt.
        """
        conn.ensure_connection = partial(self._ensure_connection, conn.ensure_connection)
        return super().ensure_connected(conn)

    def _ensure_connection(self, ensure: Callable[..., Any], *args: Any, callback: Callable[[], None]) -> Any:
        def waiting() -> None:
            self.heartbeat()
            callback()

        self.heartbeat()
        return ensure(*args, callback=waiting, interval_start=1, interval_step=1, interval_max=5)

    def register_with_event_loop(self, hub: Any) -> None:
        """Send a heartbeat each second from within the loop. Celery stops this timer with the connection."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(HEARTBEAT_SECONDS, self.heartbeat)

    def perform_pending_operations(self) -> None:
        """Send a heartbeat. Without an event loop this runs in each iteration, at least every two seconds."""
        super().perform_pending_operations()
        self.heartbeat()

    def on_ready(self) -> None:
        """After connecting, wake the loop often enough to find free threads.

        Without prefetching, a message is fetched when a slot is free. A prefork child's result wakes the event loop; a
        thread's does not, and the loop would sleep for up to a second after each batch.
        """
        super().on_ready()
        if self.hub and not self.pool.uses_semaphore:  # only prefork's pool uses one
            self.hub.call_repeatedly(FREE_SLOT_POLL_SECONDS, lambda: None)

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Message], None]:
        """Celery's handler for one message, with our check before it."""
        handle = super().create_task_handler(*args, **options)

        def on_message(message: Message) -> None:
            problem = problem_with(message.headers, message.content_type, lambda: message.payload)
            if problem is None:
                try:
                    handle(message)
                    return
                except self.connection_errors:
                    raise
                except Exception as error:  # noqa: BLE001 - Celery cannot handle the message; store it with the error
                    problem = f"Celery could not handle it: {type(error).__name__}: {error}"
            self._store_or_requeue(message, problem)

        return on_message

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Store a message that cannot be decoded. Celery would ack it and log its content."""
        self._store_or_requeue(message, f"it cannot be decoded: {exc}")

    def on_unknown_message(self, body: Any, message: Message) -> None:  # noqa: ARG002 - Celery's signature
        """Store a message that is not a task. Celery would drop it."""
        self._store_or_requeue(message, "it is not a Celery message of protocol 2")

    def on_unknown_task(self, body: Any, message: Message, exc: Exception) -> None:  # noqa: ARG002 - Celery's signature
        """Store a message for an unknown task. Celery would drop it."""
        self._store_or_requeue(message, f"there is no such task here: {exc}")

    def on_invalid_task(self, body: Any, message: Message, exc: Exception) -> None:  # noqa: ARG002 - Celery's signature
        """Store a message whose arguments or headers Celery rejects. Celery would drop it."""
        self._store_or_requeue(message, f"Celery rejects it: {exc}")

    def _store_or_requeue(self, message: Message, problem: str) -> None:
        """Store the message in the ledger and ack it; requeue it if the ledger is unavailable."""
        raw = getattr(message, "_raw", None)
        sent = truncated(dumps(raw) if raw is not None else message.body)
        queue = (message.delivery_info or {}).get("routing_key")
        identity = message.headers.get("id") if isinstance(message.headers, dict) else None
        if self.sink.store(problem=problem, sent=sent, queue=queue, message_id=str(identity) if identity else None):
            message.ack_log_error(log, self.connection_errors)
        else:
            message.reject_log_error(log, self.connection_errors, requeue=True)


def make_consumer(database_url: str, protection: Protection, heartbeat: Callable[[], None]) -> type:
    """A consumer class that stores unreadable messages in this ledger and calls `heartbeat` in its loop."""
    members = {"sink": DeadLetterSink(database_url, protection), "heartbeat": staticmethod(heartbeat)}
    return type("LedgerCaseConsumer", (CaseConsumer,), members)
