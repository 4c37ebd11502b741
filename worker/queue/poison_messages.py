"""A `cases.accept` message whose child process died over it: back to its queue, and not for ever.

Celery 5.7.0 drops such a message, or, told to requeue it, lets it kill one child after another.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import structlog
from billiard.exceptions import WorkerLostError
from celery.worker.request import Request
from celery.worker.state import task_ready

from worker.case.protection import UNPROTECTED, Protection
from worker.queue.malformed_messages import DeadLetterSink, as_sent

log = structlog.get_logger(__name__)

#: Children that one worker loses over the same message before it is kept for a person.
DEATHS = 3
#: Messages whose deaths are remembered by one worker at most.
REMEMBERED = 1000


def request_class(database_url: str, protection: Protection = UNPROTECTED) -> type:
    """The request class that puts a dead child's message back, or keeps it in that ledger."""
    return type(
        "KeepingRequest", (AcceptRequest,), {"sink": DeadLetterSink(database_url, protection), "deaths": Counter()}
    )


class AcceptRequest(Request):  # type: ignore[misc]  # celery has no types
    """Celery's request of one `cases.accept`. Its task says `reject_on_worker_lost`, so Celery requeues it."""

    #: Set by `request_class`.
    sink: DeadLetterSink
    deaths: Counter[str]

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:  # noqa: FBT001, FBT002 - Celery's signature
        """The child is gone, or the task raised. A message that takes child after child with it is kept instead."""
        if _is_lost(exc_info.exception) and self._has_killed_enough():
            problem = f"{DEATHS} processes of this worker died while they took it in"
            kept = self.sink.keep(
                problem=problem, sent=as_sent(self.args, self.kwargs), queue="cases.intake", message_id=self.id
            )
            if kept:
                task_ready(self)  # as Celery does first: otherwise its slot would stay taken for ever
                self.acknowledge()
                return None
        return super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def _has_killed_enough(self) -> bool:
        if len(self.deaths) >= REMEMBERED:
            self.deaths.clear()
        self.deaths[self.id] += 1
        log.warning("worker_process_lost", message_id=self.id, deaths=self.deaths[self.id])
        return self.deaths[self.id] >= DEATHS


def _is_lost(error: BaseException) -> bool:
    inner = getattr(error, "exc", error)  # billiard wraps it with its traceback
    return isinstance(inner, (WorkerLostError, SystemExit, KeyboardInterrupt))
