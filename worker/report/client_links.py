"""Check a client's link with the Referral API, and describe the result."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from worker.debitura.apis import check_client_link
from worker.debitura.http import HttpClient
from worker.errors import ClientLinkNotFound, MintRateLimited, MintUnavailable, PartnerKeyRejected
from worker.report.formatting import span
from worker.settings import Settings

#: Longest wait in seconds for the check while a user waits for the page.
LINK_CHECK_TIMEOUT = 8.0


class LinkState(StrEnum):
    """The result of a check."""

    FINE = "fine"
    UNFINISHED = "unfinished"
    NO_LINK = "no_link"
    UNKNOWN = "unknown"
    """The check failed."""


@dataclass(frozen=True, slots=True)
class LinkCheck:
    """The current state of one tenant's link."""

    tenant: str
    state: LinkState
    description: str
    onboarding_url: str | None = None


def check_link(settings: Settings, tenant: str) -> LinkCheck:
    """Query GET /clients/{externalTenantId} for the tenant. Errors are returned as LinkState.UNKNOWN, not raised."""
    if not settings.api_key:
        return LinkCheck(tenant, LinkState.UNKNOWN, "DEBITURA_API_KEY is not set for this page, so it cannot check.")
    referral = HttpClient(
        settings.referral_api_url, timeout=min(LINK_CHECK_TIMEOUT, settings.request_timeout), connections=1
    )
    try:
        link = check_client_link(referral, api_key=settings.api_key, external_tenant_id=tenant)
    except ClientLinkNotFound:
        text = (
            "There is no active client link: it was never created, was withdrawn or is archived. Have the client linked"
            " again, then replay."
        )
        return LinkCheck(tenant, LinkState.NO_LINK, text)
    except PartnerKeyRejected:
        text = (
            "The API rejects our own key, so the link cannot be checked. Correct DEBITURA_API_KEY"
            " (case-worker doctor checks it)."
        )
        return LinkCheck(tenant, LinkState.UNKNOWN, text)
    except MintRateLimited as error:
        text = f"The API asks us to wait {span(error.retry_after)} before the next request. Check again then."
        return LinkCheck(tenant, LinkState.UNKNOWN, text)
    except MintUnavailable as error:
        return LinkCheck(tenant, LinkState.UNKNOWN, f"The check failed ({error}). Check again later.")
    if link.onboarding_done:
        return LinkCheck(tenant, LinkState.FINE, "The link is active and onboarding is done: replay the jobs.")
    text = "The link exists, but the client has not finished onboarding."
    text += " Send them this address, then replay." if link.onboarding_url else " Ask them to, then replay."
    return LinkCheck(tenant, LinkState.UNFINISHED, text, link.onboarding_url)
