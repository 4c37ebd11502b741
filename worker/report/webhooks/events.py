"""What an event of Debitura says, and which failures it resolves. (referral-partners/integration-guides/webhooks)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeGuard

from worker.ledger.queries.filters import FailureFilter
from worker.ledger.states import Reason

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


def cures(event: str, tenant: str) -> tuple[FailureFilter, ...]:
    """The failures of that tenant whose cause the event has dealt with; each is replayed as a canary of its own, so
    that one that comes back does not keep the others. Empty for events that cure nothing.
    """
    match event:
        case "client.linked":
            # "An existing client approves your link request": a link that was missing, withdrawn or invalid is there
            # again (referral-partners/getting-started/authentication names both signs of an invalid one). It says
            # nothing of contracts, whose failures show that there was a link already.
            return (FailureFilter(tenant=tenant, invalid_links=True),)
        case "client.onboarding.contract_signed":
            # The agreement is signed and onboarding is complete (support glossary of webhook events), which is what
            # MissingDebtCollectionContract asks for (referral-partners/error-reference). A new client has no event of
            # its link but this one, and until it has signed the mint may answer 404
            # (referral-partners/troubleshooting). Not cured: MissingPowerOfAttorney and MissingKycVerification, which
            # depend on the debtor's country and on the collection partner; a second 401, which a signature cannot fix.
            return (
                FailureFilter(
                    tenant=tenant, reason=Reason.BUSINESS_RULE.value, error_type="MissingDebtCollectionContract"
                ),
                FailureFilter(tenant=tenant, reason=Reason.CLIENT_LINK_NOT_FOUND.value),
            )
    return ()


def cures_something(event: str) -> bool:
    """Whether an event of that name is worked on at all."""
    return event in {CLIENT_LINKED, CONTRACT_SIGNED}
