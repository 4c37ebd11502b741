"""The status of notifications, for `status`: undelivered alerts and received webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from worker.case.fields import one_line
from worker.ledger.queries.alerts import SHOWN_DAYS, ReceiverStatus
from worker.ledger.queries.links import WebhookStatus
from worker.report.formatting import counted


def as_data(undelivered: Sequence[ReceiverStatus], webhooks: WebhookStatus) -> dict[str, Any]:
    """The status for programs."""
    return {"alerts": {"receivers": [asdict(receiver) for receiver in undelivered]}, "webhooks": asdict(webhooks)}


def describe(undelivered: Sequence[ReceiverStatus], webhooks: WebhookStatus) -> list[tuple[str, str]]:
    """Lines for undelivered alerts and unprocessed events; empty if there are none."""
    facts = [("alerts", describe_receiver(receiver)) for receiver in undelivered]
    if webhooks.unworked:
        waiting = counted(webhooks.unworked, "event")
        facts.append(("webhooks", f"{waiting} from Debitura not processed yet; case-worker web processes them"))
    return facts


def describe_receiver(receiver: ReceiverStatus) -> str:
    """E.g. `hooks.example.com: 2 alerts waiting, 1 given up within 7 days (it answers 500)`."""
    parts = []
    if receiver.waiting:
        parts.append(f"{counted(receiver.waiting, 'alert')} waiting")
    if receiver.given_up:
        parts.append(f"{receiver.given_up} given up within {SHOWN_DAYS} days")
    error = f" ({one_line(receiver.last_error)})" if receiver.last_error else ""
    return f"{one_line(receiver.host)}: {', '.join(parts)}{error}"
