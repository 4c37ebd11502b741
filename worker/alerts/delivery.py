"""A thread for one receiver, so that a slow or dead one keeps no other waiting."""

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


#: Seconds of silence that a receiver is granted; a whole answer may take twice as long.
DELIVERY_TIMEOUT = 5.0
#: Seconds for which an alert that is being sent is nobody else's.
TAKEN_FOR = 60.0
#: Seconds between two looks for something to deliver.
LOOK_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from a receiver."""

    status: int | None
    """None: no answer, and `said` says why."""
    said: str
    retry_after: str | None = None


class Receiver:
    """The way to one receiver."""

    def __init__(self, target: Target, settings: AlertSettings) -> None:
        self.host = target.receiver.host
        self._target = target
        self._settings = settings
        self._http = HttpClient(target.base_url, timeout=DELIVERY_TIMEOUT, connections=1, measured=False)

    def send(self, message: Message) -> Answer:
        """Send it once. Nothing is raised: no answer is an answer too."""
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
    """Delivers what is due to one receiver, while the dispatcher of its worker leads."""

    failed = "alert_courier_failed"

    def __init__(self, target: Target, settings: AlertSettings, engine: Engine, *, name: str) -> None:
        """`name` is the worker's, as its dispatcher calls itself."""
        super().__init__()
        self._key = target.receiver.target
        self._receiver = Receiver(target, settings)
        self._settings = settings
        self._engine = engine
        self._name = name

    def deliver_next(self) -> bool:
        """Try one alert that is due, with no transaction open meanwhile. False: none is."""
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
            # A bug of ours must end as an alert that is given up, not as one that is tried for ever.
            log.exception(self.failed, error=type(error).__name__)
            return Answer(None, f"internal error, {type(error).__name__}")


def message_of(taken: TakenDelivery, settings: AlertSettings) -> Message:
    """The alert in words, with the link to the page that shows it."""
    kind = AlertKind(taken.kind)
    return Message(
        taken.alert_id, kind.value, settings.environment, taken.created_at, title_of(kind, taken.facts),
        text_of(kind, taken.facts), taken.facts, page_of(kind, taken.facts, settings.report_url),
    )  # fmt: skip


def send_test(settings: AlertSettings) -> Iterator[tuple[str, Answer]]:
    """Send one to each receiver, once and past the ledger: its host, and its answer."""
    kind = AlertKind.TEST
    message = Message(
        uuid4(), kind.value, settings.environment, datetime.now(UTC), title_of(kind, {}), text_of(kind, {}), {},
        page_of(kind, {}, settings.report_url),
    )  # fmt: skip
    for target in settings.targets:
        yield target.receiver.host, Receiver(target, settings).send(message)


#: Tries before an alert is given up: with the waits between them, 20 to 45 minutes.
TRIES = 10
#: Seconds before the second try; each further wait is twice as long, up to the longest.
FIRST_WAIT, LONGEST_WAIT = 5.0, 1800.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Again:
    """Not yet."""

    seconds: float
    error: str


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Not at all."""

    error: str


def after_try(
    attempt: int, *, status: int | None, error: str = "", retry_after: str | None = None, chance: float
) -> Delivered | Again | GivenUp:
    """Judge try number `attempt` (from 1). `status` None: no answer came, and `error` says why.

    Only 2xx is a delivery; any other answer may be fixed at the receiver, so it is tried again like silence. The wait
    is between half and all of its length, by `chance` (0 to 1), so that receivers are not asked by many at once; a
    receiver that names a longer one (`Retry-After`, seconds) gets it, up to LONGEST_WAIT.
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
