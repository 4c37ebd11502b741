"""Check the signatures of Debitura's webhooks, and process each stored event exactly once.

An event is processed and marked in one transaction, so that a crash loses or repeats none
(developer-concepts/webhooks).
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
from worker.ledger.writer.tenant_links import free_links
from worker.ledger.writer.webhooks import UnworkedEvent
from worker.report.operations import start
from worker.report.preview import preview
from worker.report.webhooks.events import CLIENT_LINKED, event_rules

log = structlog.get_logger(__name__)


#: The actor's name in the audit log and on the page.
ACTOR = "debitura webhook"
#: Seconds between deletions of old events.
PURGE_EVERY = 3600.0


class Inbox:
    """A thread that processes stored events, also those of processes that died."""

    def __init__(self, engine: Engine, on_started: Callable[[], None], *, every: float = 2.0) -> None:
        """`on_started` is called after operations were started. `every` is the polling interval in seconds."""
        self._engine = engine
        self._on_started = on_started
        self._every = every
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._purge_at = 0.0
        self._failed: set[str] = set()
        self._thread = threading.Thread(target=self._poll, name="webhooks", daemon=True)

    def start(self) -> None:
        """Start polling for events."""
        self._thread.start()

    def kick(self) -> None:
        """Poll now: an event was just stored."""
        self._wake.set()

    def stop(self, *, within: float = 10.0) -> None:
        """Finish the current event. Waits at most `within` seconds."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(within)

    def process_next(self) -> bool:
        """Process one event. Returns False if none is pending.

        Leave an event that fails to the next process, so that it does not block the others; `status` shows it.
        """
        event = None
        try:
            with transaction(self._engine) as connection:
                event = writer.take_event(connection, but=self._failed)
                if event is None:
                    return False
                operations = process_event(connection, event)
        except Exception as error:
            if event is not None and not is_passing(error):
                self._failed.add(event.id)
            raise
        log.info("webhook_processed", event_id=event.id, name=event.event, operations=operations)
        if operations:
            self._on_started()
        return True

    def _poll(self) -> None:
        while not self._stop.is_set():
            try:
                while not self._stop.is_set() and self.process_next():
                    pass
                self._purge()
            except DBAPIError as error:
                log.warning("webhooks_unreachable", error=type(error.orig).__name__, passing=is_passing(error))
            except Exception as error:
                log.exception("webhook_inbox_failed", error=type(error).__name__)
            self._wake.wait(self._every)
            self._wake.clear()

    def _purge(self) -> None:
        if time.monotonic() < self._purge_at:
            return
        self._purge_at = time.monotonic() + PURGE_EVERY
        with transaction(self._engine) as connection:
            writer.forget_old_events(connection)


def process_event(connection: Connection, event: UnworkedEvent) -> list[int]:
    """Start the replays for the event, release the tenant's held jobs if the link is valid, and mark it as processed.

    Returns the operations' numbers.
    """
    if event.external_tenant_id is None:
        writer.worked(connection, event.id, WebhookOutcome.NO_TENANT)
        return []
    note = f"{event.event} (event {event.id})"
    channel = {"door": "debitura webhook", "event": event.event, "event_id": event.id}
    started = []
    for wanted in event_rules(event.event, event.external_tenant_id):
        made = preview(connection, Verb.REPLAY, wanted)
        if not made.count:
            continue
        try:
            started.append(start(connection, made.token, actor=Actor(ACTOR, note), channel=channel, canary=True))
        except SelectionChanged:
            # Another user acted on these failures first.
            continue
    if event.event == CLIENT_LINKED:
        free_links(connection, [event.external_tenant_id])
    outcome = WebhookOutcome.REPLAYED if started else WebhookOutcome.NOTHING_TO_REPLAY
    writer.worked(connection, event.id, outcome, started)
    return started


WEBHOOK_SECRET = "DEBITURA_WEBHOOK_SECRET"  # noqa: S105 - the variable's name, not a secret
#: Largest difference in seconds between the signature's time and our clock. (Not the event's time: a redelivery is
#: signed again.)
MAX_CLOCK_SKEW = 300
#: Minimum length of a secret in bytes.
MIN_SECRET_BYTES = 16
#: Maximum number of signatures checked in one header.
MAX_SIGNATURES = 5
_PART = re.compile(r"(t|v1)=([0-9a-f]{1,64})")


def webhook_secrets(environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """The base64-decoded secrets of DEBITURA_WEBHOOK_SECRET, separated by white space (several during a rotation).
    Empty: webhooks are off. Raises SettingsError.
    """
    found = []
    for text in setting_text(environ, WEBHOOK_SECRET).split():
        try:
            secret = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if len(secret) < MIN_SECRET_BYTES:
            raise SettingsError(
                f"{WEBHOOK_SECRET} should be the base64 text that Debitura gave for the webhook (several separated by"
                " white space)"
            )
        found.append(secret)
    return tuple(found)


def is_genuine(header: str, body: bytes, secrets: Sequence[bytes], *, now: float) -> bool:
    """Whether the signature header matches the raw body with one of the secrets, and is recent.

    Ignore the other headers (event, timestamp): they are not signed. Try every secret, in constant time.
    """
    parts = [_PART.fullmatch(part.strip()) for part in header.split(",")[: MAX_SIGNATURES + 1]]
    times = [part[2] for part in parts if part and part[1] == "t"]
    signatures = [part[2].encode() for part in parts if part and part[1] == "v1"]
    if len(times) != 1 or not times[0].isdecimal() or len(times[0]) > 12 or not signatures:
        return False
    genuine = False
    for secret in secrets:
        expected = hmac.new(secret, f"{times[0]}.".encode() + body, hashlib.sha256).hexdigest().encode()
        for signature in signatures:
            genuine |= hmac.compare_digest(expected, signature)
    return genuine and abs(now - int(times[0])) <= MAX_CLOCK_SKEW
