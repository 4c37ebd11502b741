"""The Customer API except POST /cases: authorization and case look-ups."""

from __future__ import annotations

from uuid import UUID

from worker.sandbox.cases import Case
from worker.sandbox.messages import Reply, Request, api_error, dump, rate_limited, unauthorized
from worker.sandbox.state import State
from worker.sandbox.tokens import Token

_BEARER = ((b"www-authenticate", b'Bearer error="invalid_token"'),)


def authorize(state: State, request: Request) -> Token | Reply:
    """The request's token, or a 401 or 429 response.

    The rate limit applies to the partner's API key, so all tenants share it. A request without a valid token belongs to
    no key and is not counted.
    """
    now = state.clock()
    token = state.tokens.of_header(request.headers.get(b"authorization", b""))
    if token is None or token.revoked or now >= token.expires_at or state.link(token.tenant) in ("invalid", "missing"):
        refusal = unauthorized("The access token is expired or invalid.")
        refusal.headers = _BEARER
        return refusal
    wait = state.limits.admit(now)
    if wait > 0:
        return Reply(429, rate_limited({"retryAfter": round(wait, 1) or 0.1}))
    return token


def get_case(state: State, request: Request, case_id: str, _delay: float) -> Reply:
    """GET /cases/{id}."""
    token = authorize(state, request)
    if isinstance(token, Reply):
        return token
    try:
        UUID(case_id)
    except ValueError:
        return Reply(400, api_error("InvalidRequest", "The case id must be a UUID."))
    return _found(state.cases.by_id(token.tenant, case_id))


def get_case_by_creditor_reference(state: State, request: Request, reference: str, _delay: float) -> Reply:
    """GET /cases/by-creditor-reference/{creditorReference}."""
    token = authorize(state, request)
    if isinstance(token, Reply):
        return token
    return _found(state.cases.by_creditor_reference(token.tenant, reference))


def get_case_by_reference(state: State, request: Request, reference: str, _delay: float) -> Reply:
    """GET /cases/case-reference/{caseReference}."""
    token = authorize(state, request)
    if isinstance(token, Reply):
        return token
    return _found(state.cases.by_reference(token.tenant, reference))


def get_me(state: State, request: Request, _argument: str, _delay: float) -> Reply:
    """GET /me: the creditor behind the token."""
    token = authorize(state, request)
    if isinstance(token, Reply):
        return token
    return Reply(200, dump({"id": token.creditor_id, "companyName": token.tenant, "country": "Denmark"}))


def _found(case: Case | None) -> Reply:
    if case is None:
        return Reply(404, api_error("NotFound", "The case was not found."))
    return Reply(200, case.answer)
