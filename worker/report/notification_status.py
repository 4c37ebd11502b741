"""How the talk with others goes, for `status`: alerts that have not reached their receivers, webhooks that came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from worker.case.fields import one_line
from worker.ledger.queries.alerts import SHOWN_DAYS, ReceiverStanding
from worker.ledger.queries.links import WebhookStanding
from worker.report.formatting import counted


def as_data(untold: Sequence[ReceiverStanding], webhooks: WebhookStanding) -> dict[str, Any]:
    """The same for programs."""
    return {"alerts": {"receivers": [asdict(receiver) for receiver in untold]}, "webhooks": asdict(webhooks)}


def describe(untold: Sequence[ReceiverStanding], webhooks: WebhookStanding) -> list[tuple[str, str]]:
    """What is worth a line; nothing as long as all is told and nothing waits."""
    facts = [("alerts", describe_receiver(receiver)) for receiver in untold]
    if webhooks.unworked:
        waiting = counted(webhooks.unworked, "event")
        facts.append(("webhooks", f"{waiting} of Debitura not worked on yet; case-worker web does that"))
    return facts


def describe_receiver(receiver: ReceiverStanding) -> str:
    """E.g. `hooks.example.com: 2 alerts waiting, 1 given up within 7 days (it answers 500)`."""
    parts = []
    if receiver.waiting:
        parts.append(f"{counted(receiver.waiting, 'alert')} waiting")
    if receiver.given_up:
        parts.append(f"{receiver.given_up} given up within {SHOWN_DAYS} days")
    error = f" ({one_line(receiver.last_error)})" if receiver.last_error else ""
    return f"{one_line(receiver.host)}: {', '.join(parts)}{error}"
