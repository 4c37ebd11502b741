"""Both sides of a webhook: events with their signature as Debitura sends them, and the inbox that they arrive in."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from uuid import uuid4

import httpx2 as httpx

from tests.support.databases import Database
from tests.support.web_visitor import Visitor, report
from worker.ledger.database import transaction
from worker.ledger.writer.webhooks import keep_event
from worker.report.webhooks.inbox import Inbox
from worker.sandbox.webhooks import headers_for

PATH = "/webhooks/debitura"
SECRET, NEXT = b"thisisabase64encodedsecret", b"the next one, of 24 bytes"


def encoded(*secrets: bytes) -> str:
    """As it stands in DEBITURA_WEBHOOK_SECRET."""
    return " ".join(base64.b64encode(secret).decode() for secret in secrets)


def event(name: str = "client.linked", tenant: str | None = "acme", **changes: Any) -> bytes:
    """An event's body."""
    envelope = {
        "id": str(uuid4()),
        "specVersion": "1.0",
        "event": name,
        "timestamp": "2020-01-31T15:23:45Z",  # as old as an event that is delivered again
        "data": {"externalTenantId": tenant, "creditor": {"companyName": "Geheim GmbH"}},
    }
    return json.dumps(envelope | changes).encode()


class Debitura:
    """Sends events to the page."""

    def __init__(self, ledger: Database, variables: dict[str, str], **more: str) -> None:
        app = report(ledger, variables, **({"DEBITURA_WEBHOOK_SECRET": encoded(SECRET)} | more))
        self.visitor = Visitor(app, origin="https://cases.example.com")

    def send(
        self, body: bytes | None = None, *, secret: bytes = SECRET, age: float = 0, **headers: str | None
    ) -> httpx.Response:
        """One delivery. A header that is None is left out."""
        sent = event() if body is None else body
        signed = headers_for("client.linked", sent, secret, signed_at=time.time() - age)
        merged = signed | {name.replace("_", "-"): value for name, value in headers.items()}  # type: ignore[operator]
        kept = {name: value for name, value in merged.items() if value is not None}
        return self.visitor.http.post(PATH, content=sent, headers=kept)


class Events:
    """The inbox in the hands of a test."""

    def __init__(self, ledger: Database) -> None:
        self.ledger = ledger
        self.begun = 0
        self.inbox = Inbox(ledger.engine, self._count)

    def _count(self) -> None:
        self.begun += 1

    def keep(self, name: str = "client.linked", tenant: str | None = "acme", event_id: str = "evt-1") -> None:
        with transaction(self.ledger.engine) as connection:
            keep_event(connection, event_id=event_id, event=name, tenant=tenant)

    def outcome(self, event_id: str = "evt-1") -> tuple[object, ...]:
        return self.ledger.rows("SELECT outcome, operations FROM webhook_events WHERE id = %s", event_id)[0]
