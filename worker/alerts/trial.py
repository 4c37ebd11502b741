"""A test alert to every receiver, and what came back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

from worker.alerts.courier import Answer, Receiver
from worker.alerts.messages import Message
from worker.alerts.settings import AlertSettings
from worker.alerts.words import page_of, text_of, title_of
from worker.ledger.alert_models import AlertKind


def send_test(settings: AlertSettings) -> Iterator[tuple[str, Answer]]:
    """Send one to each receiver, once and past the ledger: its host, and its answer."""
    kind = AlertKind.TEST
    message = Message(
        uuid4(), kind.value, settings.environment, datetime.now(UTC), title_of(kind, {}), text_of(kind, {}), {},
        page_of(kind, {}, settings.report_url),
    )  # fmt: skip
    for target in settings.targets:
        yield target.receiver.host, Receiver(target, settings).send(message)
