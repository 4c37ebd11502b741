"""A Celery consumer that looks at each message before Celery does, so that no message can kill it or vanish.

Overrides internals of celery 5.7.0 and kombu 5.7.0: both are pinned, and a test fails when they change.
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
from worker.queue.malformed_messages import DeadLetterSink, capped, problem_with

log = structlog.get_logger(__name__)

#: Seconds between two looks for a free thread.
LOOK_FOR_FREE_SLOT = 0.02
#: Seconds between two signs of life.
BEAT_EVERY = 1.0


class CaseConsumer(Consumer):  # type: ignore[misc]  # celery has no types
    """Celery's consumer with a doorkeeper."""

    #: Set by `make_consumer`.
    sink: DeadLetterSink
    beat: Callable[[], None]

    def __init__(self, *args: Any, **options: Any) -> None:
        """Without Celery's heartbeat events, which nobody reads here: sending one to a broker that is silent or gone
        would hold the loop up for as long as that lasts."""
        super().__init__(*args, **{**options, "without_heartbeat": True})

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, for as long as it takes, looking again every few seconds: Celery's own pause grows to 30 s.

        A worker that waits for its broker is alive, and says so with each look.
        """
        conn.ensure_connection = partial(self._ensure_connection, conn.ensure_connection)
        return super().ensure_connected(conn)

    def _ensure_connection(self, ensure: Callable[..., Any], *args: Any, callback: Callable[[], None]) -> Any:
        def waiting() -> None:
            self.beat()
            callback()

        self.beat()
        return ensure(*args, callback=waiting, interval_start=1, interval_step=1, interval_max=5)

    def register_with_event_loop(self, hub: Any) -> None:
        """Give a sign of life each second, from within the loop. Celery ends this timer with the connection."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(BEAT_EVERY, self.beat)

    def perform_pending_operations(self) -> None:
        """Without an event loop this is called each time round, at the latest every two seconds."""
        super().perform_pending_operations()
        self.beat()

    def on_ready(self) -> None:
        """The broker's connection stands: look for messages often enough, whatever the pool.

        With nothing prefetched, a message is asked for when a slot is free. A prefork child's result wakes the event
        loop to see that; a thread's does not, and the loop would sleep for up to a second after each batch.
        """
        super().on_ready()
        if self.hub and not self.pool.uses_semaphore:  # only prefork's pool uses one
            self.hub.call_repeatedly(LOOK_FOR_FREE_SLOT, lambda: None)

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Message], None]:
        """Celery's handler for one message, behind our look at it."""
        handle = super().create_task_handler(*args, **options)

        def on_message(message: Message) -> None:
            problem = problem_with(message.headers, message.content_type, lambda: message.payload)
            if problem is None:
                try:
                    handle(message)
                    return
                except self.connection_errors:
                    raise
                except Exception as error:  # noqa: BLE001 - Celery could not take it; it is kept with what was raised
                    problem = f"Celery could not take it: {type(error).__name__}: {error}"
            self._set_aside(message, problem)

        return on_message

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """The body, or its compression, cannot be decoded. Celery would ack it with a log line that shows it."""
        self._set_aside(message, f"it cannot be decoded: {exc}")

    def on_unknown_message(self, body: Any, message: Message) -> None:  # noqa: ARG002 - Celery's signature
        """Not a task message at all. Celery would drop it."""
        self._set_aside(message, "it is not a Celery message of protocol 2")

    def on_unknown_task(self, body: Any, message: Message, exc: Exception) -> None:  # noqa: ARG002 - Celery's signature
        """A task that does not exist here. Celery would drop it."""
        self._set_aside(message, f"there is no such task here: {exc}")

    def on_invalid_task(self, body: Any, message: Message, exc: Exception) -> None:  # noqa: ARG002 - Celery's signature
        """Arguments or headers that Celery refuses. Celery would drop it."""
        self._set_aside(message, f"Celery refuses it: {exc}")

    def _set_aside(self, message: Message, problem: str) -> None:
        """Keep it in the ledger, then ack; while the ledger is away, back to its queue."""
        raw = getattr(message, "_raw", None)
        sent = capped(dumps(raw) if raw is not None else message.body)
        queue = (message.delivery_info or {}).get("routing_key")
        identity = message.headers.get("id") if isinstance(message.headers, dict) else None
        if self.sink.keep(problem=problem, sent=sent, queue=queue, message_id=str(identity) if identity else None):
            message.ack_log_error(log, self.connection_errors)
        else:
            message.reject_log_error(log, self.connection_errors, requeue=True)


def make_consumer(database_url: str, protection: Protection, beat: Callable[[], None]) -> type:
    """The consumer class that keeps unreadable messages in that ledger. `beat` is called while its loop comes round."""
    members = {"sink": DeadLetterSink(database_url, protection), "beat": staticmethod(beat)}
    return type("KeepingConsumer", (CaseConsumer,), members)
