"""An alert as bytes: generic JSON with its signature, or Slack's format. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

#: The time of signing and one signature for each secret: `t=UNIX,v1=HEX[,v1=HEX]`.
SIGNATURE_HEADER = "Case-Worker-Signature"


@dataclass(frozen=True, slots=True)
class Message:
    """One alert, ready to send."""

    id: UUID
    kind: str
    environment: str
    at: datetime
    """When the condition was found."""
    title: str
    text: str
    facts: dict[str, Any]
    link: str | None
    """The page of the report that shows it."""


def generic_body(message: Message) -> bytes:
    """JSON for any receiver, documented in docs/alerts.md. Members may be added; existing ones keep their meaning."""
    fields = {
        "id": str(message.id),
        "specVersion": "1.0",
        "kind": message.kind,
        "environment": message.environment,
        "at": message.at.astimezone(UTC).isoformat(),
        "title": message.title,
        "text": message.text,
        "facts": message.facts,
        "link": message.link,
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def slack_body(message: Message) -> bytes:
    """For Slack's incoming webhooks. Text from others (such as a tenant id) is escaped: no links and no mentions."""
    where = "" if message.environment == "production" else f" ({message.environment})"
    lines = [f"*{_escaped(message.title)}*{where}", _escaped(message.text)]
    if message.link:
        lines.append(f"<{_escaped(message.link)}|Open the report>")
    return json.dumps({"text": "\n".join(lines)}, ensure_ascii=False).encode()


def signature(secrets: Sequence[str], body: bytes, *, now: float) -> str:
    """The signature header's value: HMAC-SHA256 over `t`, a full stop and the body, in lower-case hex."""
    moment = int(now)
    marks = [
        hmac.new(secret.encode(), b"%d." % moment + body, hashlib.sha256).hexdigest() for secret in secrets
    ]  # fmt: skip
    return ",".join([f"t={moment}", *(f"v1={mark}" for mark in marks)])


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
