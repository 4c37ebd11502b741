"""Send events as Debitura does: with the documented envelope, headers and signature, one delivery each.

Source: developer-concepts/webhooks and referral-partners/integration-guides/webhooks. A delivery runs in a thread,
because its receiver may be slow, and may itself call the sandbox.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

from worker.sandbox.messages import dump

#: Seconds to wait for a receiver (referral-partners/integration-guides/webhooks-best-practices).
DELIVERY_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Receiver:
    """The URL that events go to, and the secret that signs them."""

    url: str
    secret: bytes

    @classmethod
    def parse(cls, url: Any, secret: Any) -> Receiver:
        """Parse both. Raises ValueError for a URL that is not http(s), or a secret that is not base64."""
        parts = urlsplit(url) if isinstance(url, str) else None
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url must be an http:// or https:// address")
        try:
            return cls(str(url), base64.b64decode(str(secret), validate=True))
        except binascii.Error:
            raise ValueError("secret must be base64") from None


@dataclass(slots=True)
class Delivery:
    """One event being sent. `status` is None until the receiver responds; `error` is set if sending failed."""

    id: str
    event: str
    status: int | None = None
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """As `GET /_sandbox/webhooks` shows it."""
        return {"id": self.id, "event": self.event, "status": self.status, "error": self.error}


@dataclass(slots=True)
class Webhooks:
    """All deliveries of this run, oldest first."""

    deliveries: list[Delivery] = field(default_factory=list)

    def send(self, receiver: Receiver, event: str, body: bytes, event_id: str, *, signed_at: float) -> Delivery:
        """Start a delivery. `signed_at` is in seconds since the epoch."""
        delivery = Delivery(event_id, event)
        self.deliveries.append(delivery)
        headers = headers_for(event, body, receiver.secret, signed_at=signed_at)
        threading.Thread(target=_deliver, args=(delivery, receiver.url, headers, body), daemon=True).start()
        return delivery


def body_of(event: str, tenant: str | None, event_id: str, *, at: float) -> bytes:
    """The envelope and data of an event about a client."""
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    creditor = {
        "id": str(uuid4()),
        "companyName": f"{tenant} Ltd",
        "registrationNumber": "DK12345678",
        "countryId": str(uuid4()),
        "isAttributed": False,
    }
    return dump(
        {
            "id": event_id,
            "specVersion": "1.0",
            "event": event,
            "timestamp": moment,
            "data": {"externalTenantId": tenant, "creditor": creditor, "signedAt": moment},
            "links": {"client": f"https://referral.sandbox.example/v1/clients/{quote(tenant or '', safe='')}"},
        }
    )


def headers_for(event: str, body: bytes, secret: bytes, *, signed_at: float) -> dict[str, str]:
    """HMAC-SHA256 with the decoded secret over `{t}.` and the raw body, in lower-case hex."""
    moment = int(signed_at)
    mark = hmac.new(secret, b"%d." % moment + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-Debitura-Signature": f"t={moment},v1={mark}",
        "X-Debitura-Event": event,
        "X-Debitura-Timestamp": str(moment),
    }


def _deliver(delivery: Delivery, url: str, headers: dict[str, str], body: bytes) -> None:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=DELIVERY_TIMEOUT)
    try:
        connection.request("POST", parts.path or "/", body, headers)
        delivery.status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        delivery.error = type(error).__name__
    finally:
        connection.close()
