"""Which failures are over by an event. Pure, one table, each line from the API's documentation."""

from __future__ import annotations

from worker.ledger.queries.filters import FailureFilter
from worker.ledger.states import Reason
from worker.report.webhooks.events import CLIENT_LINKED, CONTRACT_SIGNED


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
