"""Deliver alerts: one thread per receiver, so that a slow or dead receiver does not delay the others."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import structlog
from sqlalchemy import Engine

from worker.alerts.loop import Loop
from worker.alerts.messages import SIGNATURE_HEADER, Message, generic_body, signature, slack_body
from worker.alerts.settings import AlertSettings, Target
from worker.alerts.words import page_of, text_of, title_of
from worker.debitura.http import HttpClient
from worker.errors import MaybeArrived, NotSent
from worker.ledger.alert_models import AlertKind
from worker.ledger.database import transaction
from worker.ledger.writer import alerts as writer
from worker.ledger.writer.alerts import TakenDelivery

log = structlog.get_logger(__name__)


#: Seconds to wait for data from a receiver; a complete response may take twice as long.
DELIVERY_TIMEOUT = 5.0
#: Seconds for which an alert that is being sent is reserved for this thread.
TAKEN_FOR = 60.0
#: Seconds between two checks for alerts that are due.
LOOK_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A receiver's response."""

    status: int | None
    """None: no response; `said` gives the reason."""
    said: str
    retry_after: str | None = None


class Receiver:
    """Sends messages to one receiver."""

    def __init__(self, target: Target, settings: AlertSettings) -> None:
        self.host = target.receiver.host
        self._target = target
        self._settings = settings
        self._http = HttpClient(target.base_url, timeout=DELIVERY_TIMEOUT, connections=1, measured=False)

    def send(self, message: Message) -> Answer:
        """Send it once. Never raises: a missing response is returned as an `Answer` without a status."""
        headers = {"Content-Type": "application/json", "Accept": "*/*"}
        if self._target.slack:
            body = slack_body(message)
        else:
            body = generic_body(message)
            if self._settings.secrets:
                headers[SIGNATURE_HEADER] = signature(self._settings.secrets, body, now=time.time())
        try:
            reply = self._http.request("POST", self._target.path, headers, body)
        except (NotSent, MaybeArrived) as error:
            return Answer(None, str(error))
        return Answer(reply.status, reply.body[:1000].decode("utf-8", "replace"), reply.retry_after)


class Delivery(Loop):
    """Delivers the alerts that are due to one receiver, while this worker's dispatcher leads."""

    failed = "alert_courier_failed"

    def __init__(self, target: Target, settings: AlertSettings, engine: Engine, *, name: str) -> None:
        """`name` is the name of the worker's dispatcher."""
        super().__init__()
        self._key = target.receiver.target
        self._receiver = Receiver(target, settings)
        self._settings = settings
        self._engine = engine
        self._name = name

    def deliver_next(self) -> bool:
        """Try to deliver one due alert, with no transaction open during the request. Returns False if none is due."""
        with transaction(self._engine) as connection:
            taken = writer.take_delivery(connection, self._key, leader=self._name, seconds=TAKEN_FOR)
        if taken is None:
            return False
        answer = self._try(taken)
        next_step = after_try(
            taken.attempt, status=answer.status, error=answer.said, retry_after=answer.retry_after,
            chance=random.random(),  # noqa: S311 - jitter is no secret
        )  # fmt: skip
        facts = {
            "alert_id": str(taken.alert_id), "kind": taken.kind, "receiver": self._receiver.host,
            "attempt": taken.attempt,
        }  # fmt: skip
        with transaction(self._engine) as connection:
            match next_step:
                case Delivered():
                    writer.delivered(connection, taken, self._key)
                    log.info("alert_delivered", **facts)
                case Again(seconds, error):
                    writer.put_off(connection, taken, self._key, seconds=seconds, error=error)
                    log.warning("alert_not_delivered", **facts, error=error, again_in=round(seconds, 1))
                case GivenUp(error):
                    writer.given_up(connection, taken, self._key, error=error)
                    log.error("alert_given_up", **facts, error=error)
        return True

    def _round(self) -> float:
        while not self._stop.is_set() and self.deliver_next():
            pass
        return LOOK_EVERY

    def _try(self, taken: TakenDelivery) -> Answer:
        try:
            return self._receiver.send(message_of(taken, self._settings))
        except Exception as error:
            # A bug in this code must lead to giving up on the alert, not to retrying it forever.
            log.exception(self.failed, error=type(error).__name__)
            return Answer(None, f"internal error, {type(error).__name__}")


def message_of(taken: TakenDelivery, settings: AlertSettings) -> Message:
    """Build the alert's message, with a link to the report page that shows it."""
    kind = AlertKind(taken.kind)
    return Message(
        taken.alert_id, kind.value, settings.environment, taken.created_at, title_of(kind, taken.facts),
        text_of(kind, taken.facts), taken.facts, page_of(kind, taken.facts, settings.report_url),
    )  # fmt: skip


def send_test(settings: AlertSettings) -> Iterator[tuple[str, Answer]]:
    """Send a test alert to each receiver once, without using the ledger. Yields each host and its response."""
    kind = AlertKind.TEST
    message = Message(
        uuid4(), kind.value, settings.environment, datetime.now(UTC), title_of(kind, {}), text_of(kind, {}), {},
        page_of(kind, {}, settings.report_url),
    )  # fmt: skip
    for target in settings.targets:
        yield target.receiver.host, Receiver(target, settings).send(message)


#: Attempts before giving up on an alert: 20 to 45 minutes, including the waits.
TRIES = 10
#: Seconds before the second attempt; each further wait doubles, up to the longest.
FIRST_WAIT, LONGEST_WAIT = 5.0, 1800.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver accepted the alert."""


@dataclass(frozen=True, slots=True)
class Again:
    """Try again later."""

    seconds: float
    error: str


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The alert will not be delivered."""

    error: str


def after_try(
    attempt: int, *, status: int | None, error: str = "", retry_after: str | None = None, chance: float
) -> Delivered | Again | GivenUp:
    """Judge attempt number `attempt` (from 1). `status` None: no response; `error` gives the reason.

    Only 2xx counts as delivered. Any other response may be fixed at the receiver, so it is retried like a missing one.
    Jitter shortens the wait by up to half (`chance`, 0 to 1), so that retries don't arrive all at once. A longer
    `Retry-After` (in seconds) is respected, up to LONGEST_WAIT.
    """
    if status is not None and 200 <= status < 300:
        return Delivered()
    said = error if status is None else f"it answers {status}"
    if attempt >= TRIES:
        return GivenUp(said)
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1))
    return Again(max(wait * (1 + chance) / 2, _asked(retry_after)), said)


def _asked(retry_after: str | None) -> float:
    if retry_after is None or not re.fullmatch(r"\d{1,9}", retry_after.strip()):
        return 0.0
    return min(float(retry_after), LONGEST_WAIT)
