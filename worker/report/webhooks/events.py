"""What an event of Debitura says, as far as we need it (referral-partners/integration-guides/webhooks). Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeGuard

CLIENT_LINKED = "client.linked"
CONTRACT_SIGNED = "client.onboarding.contract_signed"
#: Every event of the documentation. Any other is counted as `other`.
DOCUMENTED = frozenset(
    {
        "client.onboarding.poa_signed",
        CONTRACT_SIGNED,
        CLIENT_LINKED,
        "client.link_declined",
        "client.link_requested",
        "client.link_expired",
        "case.created",
        "case.updated",
        "case.closed",
        "cases.replay_failed",
    }
)
OTHER = "other"
LONGEST_ID = 255


@dataclass(frozen=True, slots=True)
class Event:
    """One event. Nothing else of its payload is taken: it names people."""

    id: str
    name: str
    external_tenant_id: str | None

    @property
    def counted_as(self) -> str:
        """Its name, or `other` for one that the documentation does not know."""
        return self.name if self.name in DOCUMENTED else OTHER


def read_event(body: bytes) -> Event:
    """The event in a webhook's body. Raises ValueError, in words, for anything that is no event."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None
    if not isinstance(content, dict):
        raise ValueError("the body is not a JSON object")  # noqa: TRY004 - one kind of error for the caller
    event_id, name = content.get("id"), content.get("event")
    if not _is_text(event_id, LONGEST_ID):
        raise ValueError("it has no id")
    if not _is_text(name, LONGEST_ID):
        raise ValueError("it has no event name")
    data = content.get("data")
    tenant = data.get("externalTenantId") if isinstance(data, dict) else None
    return Event(event_id, name, tenant if _is_text(tenant, 255) else None)


def _is_text(value: Any, longest: int) -> TypeGuard[str]:
    """Text that PostgreSQL can keep."""
    if not isinstance(value, str) or not 0 < len(value) <= longest or "\x00" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True
