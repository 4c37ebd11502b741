"""Check the signature of Debitura's webhooks, keep the events, and process each exactly once.

An event is processed in the transaction that says so, whoever died in between (developer-concepts/webhooks).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from worker.environment import setting_text
from worker.errors import SelectionChanged, SettingsError
from worker.ledger.database import is_passing, transaction
from worker.ledger.states import Verb
from worker.ledger.webhook_models import WebhookOutcome
from worker.ledger.writer import webhooks as writer
from worker.ledger.writer.resolve import Actor
from worker.ledger.writer.webhooks import UnworkedEvent
from worker.report.operations import start
from worker.report.preview import preview
from worker.report.webhooks.events import cures

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


WEBHOOK_SECRET = "DEBITURA_WEBHOOK_SECRET"  # noqa: S105 - the variable's name, not a secret
#: Seconds that the moment of signing may be away from our clock, either way. (Not the event's own time: one that is
#: delivered again is signed again.)
MOST_APART = 300
#: Bytes of a secret at least.
SHORTEST = 16
#: Signatures in one header that are looked at.
MOST_MARKS = 5
_PART = re.compile(r"(t|v1)=([0-9a-f]{1,64})")


def webhook_secrets(environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """The secrets of DEBITURA_WEBHOOK_SECRET, base64-decoded; several, separated by white space, while one is replaced
    by the next. Empty: no webhooks are taken. Raises SettingsError.
    """
    found = []
    for text in setting_text(environ, WEBHOOK_SECRET).split():
        try:
            secret = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if len(secret) < SHORTEST:
            raise SettingsError(
                f"{WEBHOOK_SECRET} should be the base64 text that Debitura gave for the webhook (several separated by"
                " white space)"
            )
        found.append(secret)
    return tuple(found)


def is_genuine(header: str, body: bytes, secrets: Sequence[bytes], *, now: float) -> bool:
    """Whether the signature header fits the raw body under one of the secrets, and is young enough.

    The other headers (event, timestamp) are not signed, so they say nothing. Every secret is tried, and every
    comparison takes the same time.
    """
    parts = [_PART.fullmatch(part.strip()) for part in header.split(",")[: MOST_MARKS + 1]]
    moments = [part[2] for part in parts if part and part[1] == "t"]
    marks = [part[2].encode() for part in parts if part and part[1] == "v1"]
    if len(moments) != 1 or not moments[0].isdecimal() or len(moments[0]) > 12 or not marks:
        return False
    genuine = False
    for secret in secrets:
        expected = hmac.new(secret, f"{moments[0]}.".encode() + body, hashlib.sha256).hexdigest().encode()
        for mark in marks:
            genuine |= hmac.compare_digest(expected, mark)
    return genuine and abs(now - int(moments[0])) <= MOST_APART
