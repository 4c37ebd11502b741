"""The API calls, one function each. Every request is sent once; the ledger handles retries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import quote
from uuid import uuid4

from worker.debitura.http import HttpClient, Reply
from worker.debitura.judge import clean, is_api_error, retry_after
from worker.errors import (
    ClientLinkNotFound,
    MaybeArrived,
    MintRateLimited,
    MintRefused,
    MintUnavailable,
    NotSent,
    PartnerKeyRejected,
)

#: Minimum lifetime of a token in seconds; a response with a shorter one is unusable.
MIN_TOKEN_SECONDS = 1


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A tenant's newly minted token."""

    value: str
    expires_in: float
    """Seconds."""


def post_case(
    customer: HttpClient, *, token: str, submission_key: str, body: bytes, traceparent: str | None = None
) -> Reply:
    """POST /cases with exactly these bytes (referral-partners/integration-guides/case-submission).

    `traceparent` links the request to a trace (W3C trace context).
    Raises NotSent or MaybeArrived.
    """
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Idempotency-Key": submission_key,
        **({"traceparent": traceparent} if traceparent else {}),
    }
    return customer.request("POST", "/cases", headers, body)


def find_case(customer: HttpClient, *, token: str, creditor_reference: str) -> Reply:
    """GET /cases/by-creditor-reference/{creditorReference}: 200 the case, 404 none. Raises NotSent or MaybeArrived."""
    path = f"/cases/by-creditor-reference/{quote(creditor_reference, safe='')}"
    return customer.request("GET", path, {"Authorization": f"Bearer {token}"})


def mint_token(referral: HttpClient, *, api_key: str, external_tenant_id: str) -> MintedToken:
    """POST /oauth/token (referral-partners/getting-started/authentication).

    Raises ClientLinkNotFound (404), PartnerKeyRejected (401, 403), MintRefused (other 4xx), MintRateLimited (429) or
    MintUnavailable (5xx, no or unusable response).
    """
    body = json.dumps({"externalTenantId": external_tenant_id}).encode()
    try:
        reply = referral.request("POST", "/oauth/token", {"XApiKey": api_key, "Content-Type": "application/json"}, body)
    except (NotSent, MaybeArrived) as error:
        raise MintUnavailable(f"POST /oauth/token: {error}") from None
    match reply.status:
        case 200 | 201:
            return _token_in(reply)
        case status if 400 <= status < 500 and _is_from_gateway(reply):
            # A gateway replied, not the API: a wrong URL of ours must not mark a client link as invalid.
            raise MintUnavailable(
                f"POST /oauth/token answers {status} without the API's JSON: is DEBITURA_REFERRAL_API_URL right?"
            )
        case 404:
            raise ClientLinkNotFound(_message(reply) or "no active client link for this externalTenantId")
        case 401 | 403:
            raise PartnerKeyRejected(
                f"POST /oauth/token answers {reply.status}:"
                " DEBITURA_API_KEY is wrong, revoked, or for the other environment"
            )
        case 429:
            raise MintRateLimited(retry_after(reply))
        case 400 | 405 | 410 | 413 | 414 | 415 | 422 | 431:
            raise MintRefused(_message(reply) or f"POST /oauth/token answers {reply.status}", status=reply.status)
    raise MintUnavailable(f"POST /oauth/token answers {reply.status}")


def check_partner_key(referral: HttpClient, *, api_key: str) -> None:
    """Check that the API accepts the partner key, without using a real tenant id.

    GET /clients/{externalTenantId} for a random id: 404 means that the key was accepted and the client does not exist
    (referral-partners/getting-started/authentication). Raises PartnerKeyRejected (401, 403), MintRateLimited (429) or
    MintUnavailable (5xx, no response, or one from something other than the API).
    """
    try:
        reply = referral.request("GET", f"/clients/case-worker-check-{uuid4()}", {"XApiKey": api_key})
    except (NotSent, MaybeArrived) as error:
        raise MintUnavailable(f"GET /clients: {error}") from None
    match reply.status:
        case 403 | 404 if _is_from_gateway(reply):
            raise MintUnavailable(
                f"GET /clients answers {reply.status} without the API's JSON: is DEBITURA_REFERRAL_API_URL right?"
            )
        case 401 | 403:
            raise PartnerKeyRejected(
                f"GET /clients answers {reply.status}: DEBITURA_API_KEY is wrong, revoked, or for the other environment"
            )
        case 200 | 404:
            return
        case 429:
            raise MintRateLimited(retry_after(reply))
    raise MintUnavailable(f"GET /clients answers {reply.status}")


@dataclass(frozen=True, slots=True)
class ClientLink:
    """An active client link in the Referral API."""

    onboarding_done: bool
    onboarding_url: str | None
    """Where the client finishes onboarding; None if it is done or the API sent no usable address."""


def check_client_link(referral: HttpClient, *, api_key: str, external_tenant_id: str) -> ClientLink:
    """GET /clients/{externalTenantId}: the state of a client link (referral-partners/getting-started/authentication).

    Raises ClientLinkNotFound (404), PartnerKeyRejected (401, 403), MintRateLimited (429) or MintUnavailable (anything
    else, no or unusable response).
    """
    # A name of only dots would be resolved as a parent path.
    dots = not external_tenant_id.strip(".")
    name = external_tenant_id.replace(".", "%2E") if dots else quote(external_tenant_id, safe="")
    try:
        reply = referral.request("GET", f"/clients/{name}", {"XApiKey": api_key})
    except (NotSent, MaybeArrived) as error:
        raise MintUnavailable(f"GET /clients: {error}") from None
    match reply.status:
        case 200:
            return _link_in(reply)
        case 403 | 404 if _is_from_gateway(reply):
            raise MintUnavailable(
                f"GET /clients answers {reply.status} without the API's JSON: is DEBITURA_REFERRAL_API_URL right?"
            )
        case 401 | 403:
            raise PartnerKeyRejected(
                f"GET /clients answers {reply.status}: DEBITURA_API_KEY is wrong, revoked, or for the other environment"
            )
        case 404:
            raise ClientLinkNotFound(_message(reply) or "no active client link for this externalTenantId")
        case 429:
            raise MintRateLimited(retry_after(reply))
    raise MintUnavailable(f"GET /clients answers {reply.status}")


def _link_in(reply: Reply) -> ClientLink:
    try:
        content = json.loads(reply.body)
        done = content["onboardingDone"]
    except (ValueError, KeyError, TypeError, RecursionError):
        done = None
    if not isinstance(done, bool):
        raise MintUnavailable("GET /clients answers 200 without onboardingDone")
    links = content.get("onboardingLinks")
    url = links.get("url") if isinstance(links, dict) else None
    if not isinstance(url, str) or not url.lower().startswith(("https://", "http://")):
        url = None
    return ClientLink(done, clean(url)[:2048] if url else None)


def _token_in(reply: Reply) -> MintedToken:
    try:
        content = json.loads(reply.body)
        token, lifetime = content["accessToken"], float(content["expiresIn"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise MintUnavailable("POST /oauth/token answers 200 without a usable token") from None
    if not isinstance(token, str) or not _header_safe(token) or not MIN_TOKEN_SECONDS <= lifetime < 10**9:
        raise MintUnavailable("POST /oauth/token answers 200 without a usable token")
    return MintedToken(token, lifetime)


def _header_safe(token: str) -> bool:
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def _is_from_gateway(reply: Reply) -> bool:
    """Whether a 4xx comes from a gateway between us and the API.

    A 401 never does. A 403 without a body counts as the API's: then the partner key is in doubt, and no job fails.
    """
    if reply.status in {401, 429} or (reply.status == 403 and not reply.body.strip()):
        return False
    return not is_api_error(reply)


def _message(reply: Reply) -> str | None:
    try:
        content = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    message = content.get("message") or content.get("error") if isinstance(content, dict) else None
    return clean(message)[:1000] if isinstance(message, str) else None
