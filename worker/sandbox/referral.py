"""The Referral Partner API: mint tokens, read client links (referral-partners/getting-started/authentication)."""

from __future__ import annotations

import json
import math

from worker.sandbox.business import onboarding_url
from worker.sandbox.messages import Reply, Request, api_error, dump, unauthorized
from worker.sandbox.state import State

MAX_TENANT_LENGTH = 255


def tenant_in(body: bytes) -> str | None:
    """The externalTenantId of a token request; None when it is missing or invalid."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return None
    tenant = request.get("externalTenantId") if isinstance(request, dict) else None
    return tenant if isinstance(tenant, str) and 1 <= len(tenant) <= MAX_TENANT_LENGTH else None


def post_token(state: State, request: Request, _argument: str, _delay: float) -> Reply:
    """POST /oauth/token. A client link is enough for a token; no signed contract is required."""
    if refused := _refuse_key(state, request):
        return refused
    tenant = tenant_in(request.body)
    if tenant is None:
        message = f"externalTenantId is required: a string of 1 to {MAX_TENANT_LENGTH} characters."
        return Reply(400, api_error("InvalidRequest", message))
    if state.link(tenant) == "missing":
        return _no_link()
    encoded, token = state.tokens.mint(tenant, now=state.clock(), seconds=state.token_seconds)
    answer = {
        "accessToken": encoded,
        "tokenType": "Bearer",
        "expiresIn": math.ceil(state.token_seconds),
        "externalTenantId": tenant,
        "creditorId": token.creditor_id,
    }
    return Reply(200, dump(answer))


def get_client(state: State, request: Request, tenant: str, _delay: float) -> Reply:
    """GET /clients/{externalTenantId}: the link, and the page where the client finishes onboarding."""
    if refused := _refuse_key(state, request):
        return refused
    link = state.link(tenant)
    if link == "missing":
        return _no_link()
    done = link != "unfinished"
    links = None if done else {"url": onboarding_url(tenant)}
    return Reply(200, dump({"externalTenantId": tenant, "onboardingDone": done, "onboardingLinks": links}))


def _refuse_key(state: State, request: Request) -> Reply | None:
    if state.api_key_accepted and request.headers.get(b"xapikey") == state.api_key:
        return None
    return unauthorized("The API key is missing or invalid.")


def _no_link() -> Reply:
    return Reply(404, api_error("NotFound", "No active client link for this externalTenantId."))
