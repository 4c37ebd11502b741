"""Parse Debitura's events, and map them to the failures that they resolve.

See referral-partners/integration-guides/webhooks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeGuard

from worker.ledger.queries.filters import FailureFilter
from worker.ledger.states import Reason

CLIENT_LINKED = "client.linked"
CONTRACT_SIGNED = "client.onboarding.contract_signed"
#: All documented events. Any other is counted as `other`.
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
    """One event. The rest of the payload is ignored: it holds personal data."""

    id: str
    name: str
    external_tenant_id: str | None

    @property
    def counted_as(self) -> str:
        """Its name, or `other` if it is not documented."""
        return self.name if self.name in DOCUMENTED else OTHER


def read_event(body: bytes) -> Event:
    """Parse a webhook's body. Raises ValueError with the reason if it is not an event."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None
    if not isinstance(content, dict):
        raise ValueError("the body is not a JSON object")  # noqa: TRY004 - one error type for the caller
    event_id, name = content.get("id"), content.get("event")
    if not _is_text(event_id, LONGEST_ID):
        raise ValueError("it has no id")
    if not _is_text(name, LONGEST_ID):
        raise ValueError("it has no event name")
    data = content.get("data")
    tenant = data.get("externalTenantId") if isinstance(data, dict) else None
    return Event(event_id, name, tenant if _is_text(tenant, 255) else None)


def _is_text(value: Any, longest: int) -> TypeGuard[str]:
    """Whether it is text that PostgreSQL can store."""
    if not isinstance(value, str) or not 0 < len(value) <= longest or "\x00" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def event_rules(event: str, tenant: str) -> tuple[FailureFilter, ...]:
    """The tenant's failures that the event resolves. Replay each filter as its own canary, so that a failed one does
    not block the others. Empty for other events.
    """
    match event:
        case "client.linked":
            # "An existing client approves your link request": a missing, withdrawn or invalid link is valid again
            # (referral-partners/getting-started/authentication names both signs of an invalid one). It does not
            # resolve contract failures: those had a valid link.
            return (FailureFilter(tenant=tenant, invalid_links=True),)
        case "client.onboarding.contract_signed":
            # The agreement is signed and onboarding is complete (support glossary of webhook events), which is what
            # MissingDebtCollectionContract asks for (referral-partners/error-reference). For a new client this is the
            # only event about the link, and until it signs, minting may return 404
            # (referral-partners/troubleshooting). Not resolved: MissingPowerOfAttorney and MissingKycVerification,
            # which depend on the debtor's country and the collection partner; a second 401.
            return (
                FailureFilter(
                    tenant=tenant, reason=Reason.BUSINESS_RULE.value, error_type="MissingDebtCollectionContract"
                ),
                FailureFilter(tenant=tenant, reason=Reason.CLIENT_LINK_NOT_FOUND.value),
            )
    return ()


def has_event_rule(event: str) -> bool:
    """Whether an event with this name has a rule."""
    return event in {CLIENT_LINKED, CONTRACT_SIGNED}
