"""Requeue a `cases.accept` message whose child process died, but only a few times.

Celery 5.7.0 drops such a message or, if told to requeue it, lets it kill one child after another.
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

#: Children that one worker may lose to a message before the message becomes a dead letter.
MAX_DEATHS = 3
#: Messages tracked by one worker at most.
MAX_TRACKED = 1000


def request_class(database_url: str, protection: Protection = UNPROTECTED) -> type:
    """A request class that requeues a dead child's message, or stores it in this ledger."""
    return type(
        "LedgerAcceptRequest", (AcceptRequest,), {"sink": DeadLetterSink(database_url, protection), "deaths": Counter()}
    )


class AcceptRequest(Request):  # type: ignore[misc]  # celery has no types
    """Celery's request for one `cases.accept`. The task sets `reject_on_worker_lost`, so Celery requeues it."""

    #: Set by `request_class`.
    sink: DeadLetterSink
    deaths: Counter[str]

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:  # noqa: FBT001, FBT002 - Celery's signature
        """Store the message after too many lost children; otherwise let Celery handle the failure."""
        if _is_lost(exc_info.exception) and self._is_poison():
            problem = f"{MAX_DEATHS} processes of this worker died while accepting it"
            stored = self.sink.store(
                problem=problem, sent=as_sent(self.args, self.kwargs), queue="cases.intake", message_id=self.id
            )
            if stored:
                task_ready(self)  # as Celery does: otherwise its slot stays occupied
                self.acknowledge()
                return None
        return super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def _is_poison(self) -> bool:
        if len(self.deaths) >= MAX_TRACKED:
            self.deaths.clear()
        self.deaths[self.id] += 1
        log.warning("worker_process_lost", message_id=self.id, deaths=self.deaths[self.id])
        return self.deaths[self.id] >= MAX_DEATHS


def _is_lost(error: BaseException) -> bool:
    inner = getattr(error, "exc", error)  # billiard wraps it together with its traceback
    return isinstance(inner, (WorkerLostError, SystemExit, KeyboardInterrupt))
