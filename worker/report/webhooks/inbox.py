"""Working on the events that were kept: each once, in the transaction that says so, whoever died in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from worker.errors import SelectionChanged
from worker.ledger.database import is_passing, transaction
from worker.ledger.states import Verb
from worker.ledger.webhook_models import WebhookOutcome
from worker.ledger.writer import webhooks as writer
from worker.ledger.writer.resolve import Actor
from worker.ledger.writer.webhooks import UnworkedEvent
from worker.report.operations import start
from worker.report.preview import preview
from worker.report.webhooks.cures import cures

log = structlog.get_logger(__name__)

#: Who the audit log and the page say it was.
ACTOR = "debitura webhook"
#: Seconds between two times that old events are forgotten.
FORGET_EVERY = 3600.0


class Inbox:
    """A thread of the page's process that works on events, its own process's and those of processes that died."""

    def __init__(self, engine: Engine, begun: Callable[[], None], *, every: float = 2.0) -> None:
        """`begun` is called when operations were begun. `every` is in seconds: how soon another process's event is
        noticed."""
        self._engine = engine
        self._begun = begun
        self._every = every
        self._stop = threading.Event()
        self._look = threading.Event()
        self._forget_at = 0.0
        self._stumbled: set[str] = set()
        self._thread = threading.Thread(target=self._watch, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begin to look for events."""
        self._thread.start()

    def kick(self) -> None:
        """Look at once: an event has just been kept."""
        self._look.set()

    def stop(self, *, within: float = 10.0) -> None:
        """Finish the event under way. Waits at most that many seconds."""
        self._stop.set()
        self._look.set()
        if self._thread.is_alive():
            self._thread.join(within)

    def work_next(self) -> bool:
        """Work on one event. False: none waits.

        One that we stumble over is left to the next process, so that it does not keep the others; `status` shows it.
        """
        event = None
        try:
            with transaction(self._engine) as connection:
                event = writer.take_event(connection, but=self._stumbled)
                if event is None:
                    return False
                operations = work_on(connection, event)
        except Exception as error:
            if event is not None and not is_passing(error):
                self._stumbled.add(event.id)
            raise
        log.info("webhook_processed", event_id=event.id, name=event.event, operations=operations)
        if operations:
            self._begun()
        return True

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                while not self._stop.is_set() and self.work_next():
                    pass
                self._forget()
            except DBAPIError as error:
                log.warning("webhooks_unreachable", error=type(error.orig).__name__, passing=is_passing(error))
            except Exception as error:
                log.exception("webhook_inbox_failed", error=type(error).__name__)
            self._look.wait(self._every)
            self._look.clear()

    def _forget(self) -> None:
        if time.monotonic() < self._forget_at:
            return
        self._forget_at = time.monotonic() + FORGET_EVERY
        with transaction(self._engine) as connection:
            writer.forget_old_events(connection)


def work_on(connection: Connection, event: UnworkedEvent) -> list[int]:
    """Begin the replays that the event allows, and say that it is worked on. Returns the operations' numbers."""
    if event.external_tenant_id is None:
        writer.worked(connection, event.id, WebhookOutcome.NO_TENANT)
        return []
    note = f"{event.event} (event {event.id})"
    door = {"door": "debitura webhook", "event": event.event, "event_id": event.id}
    begun = []
    for wanted in cures(event.event, event.external_tenant_id):
        made = preview(connection, Verb.REPLAY, wanted)
        if not made.count:
            continue
        try:
            begun.append(start(connection, made.token, actor=Actor(ACTOR, note), door=door, canary=True))
        except SelectionChanged:
            # Somebody was quicker: with what is left, if anything is, they had to do.
            continue
    outcome = WebhookOutcome.REPLAYED if begun else WebhookOutcome.NOTHING_TO_REPLAY
    writer.worked(connection, event.id, outcome, begun)
    return begun
