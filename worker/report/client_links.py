"""Is a client's link well now? The Referral API's answer in words, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from worker.debitura.apis import check_client_link
from worker.debitura.http import HttpClient
from worker.errors import ClientLinkNotFound, MintRateLimited, MintUnavailable, PartnerKeyRejected
from worker.report.formatting import span
from worker.settings import Settings

#: Seconds of silence that somebody in front of a page is made to wait at most.
LINK_CHECK_TIMEOUT = 8.0


class LinkState(StrEnum):
    """What the check has found."""

    FINE = "fine"
    UNFINISHED = "unfinished"
    NO_LINK = "no_link"
    UNKNOWN = "unknown"
    """It could not be asked."""


@dataclass(frozen=True, slots=True)
class LinkCheck:
    """One tenant's link at this moment."""

    tenant: str
    state: LinkState
    words: str
    onboarding_url: str | None = None


def check_link(settings: Settings, tenant: str) -> LinkCheck:
    """Ask GET /clients/{externalTenantId} about that tenant. Nothing is raised: trouble is an answer too."""
    if not settings.api_key:
        return LinkCheck(tenant, LinkState.UNKNOWN, "DEBITURA_API_KEY is not set for this page, so it cannot ask.")
    referral = HttpClient(
        settings.referral_api_url, timeout=min(LINK_CHECK_TIMEOUT, settings.request_timeout), connections=1
    )
    try:
        link = check_client_link(referral, api_key=settings.api_key, external_tenant_id=tenant)
    except ClientLinkNotFound:
        words = (
            "There is no active client link: it was never made, was withdrawn or is archived. Have the client linked"
            " again, then replay."
        )
        return LinkCheck(tenant, LinkState.NO_LINK, words)
    except PartnerKeyRejected:
        words = (
            "The API refuses our own key, so it says nothing of this client. Correct DEBITURA_API_KEY"
            " (case-worker doctor checks it)."
        )
        return LinkCheck(tenant, LinkState.UNKNOWN, words)
    except MintRateLimited as error:
        words = f"The API asks us to wait {span(error.retry_after)} before the next question. Check again then."
        return LinkCheck(tenant, LinkState.UNKNOWN, words)
    except MintUnavailable as error:
        return LinkCheck(tenant, LinkState.UNKNOWN, f"The API could not be asked ({error}). Check again later.")
    if link.onboarding_done:
        return LinkCheck(tenant, LinkState.FINE, "The link is active and onboarding is done: replay the jobs.")
    words = "The link is there, but the client has not finished onboarding."
    words += " Send them this address, then replay." if link.onboarding_url else " Ask them to, then replay."
    return LinkCheck(tenant, LinkState.UNFINISHED, words, link.onboarding_url)
