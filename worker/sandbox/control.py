"""The control endpoints under `/_sandbox/`, for tests and demonstrations. No authentication."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import parse_qs
from uuid import uuid4

from worker.sandbox.messages import Reply, Request, dump
from worker.sandbox.rates import RateLimits
from worker.sandbox.state import LINK_STATES, State
from worker.sandbox.webhooks import Receiver, body_of

PREFIX = "/_sandbox/"

Fields = dict[str, Any]


class Controlled(Protocol):
    """The part of the sandbox that these endpoints use."""

    @property
    def state(self) -> State:
        """The current state."""

    def reset(self) -> None:
        """Forget everything and restore the initial settings."""


def answer(sandbox: Controlled, request: Request) -> Reply:
    """Answer a control request; 400 with the reason if its fields are invalid."""
    name = request.path[len(PREFIX) :]
    if request.method == "GET" and name in _READ:
        query = {key: values[-1] for key, values in parse_qs(request.query).items()}
        return Reply(200, dump(_READ[name](sandbox, query)))
    if request.method == "POST" and name in _WRITE:
        try:
            return Reply(200, dump(_WRITE[name](sandbox, _fields(request))))
        except (ValueError, RecursionError) as error:
            return Reply(400, dump({"error": str(error)}))
    known = ", ".join([f"GET {name}" for name in _READ] + [f"POST {name}" for name in _WRITE])
    return Reply(404, dump({"error": f"no such control endpoint; there are: {known}"}))


def _fields(request: Request) -> Fields:
    fields = json.loads(request.body or b"{}")
    if not isinstance(fields, dict):
        raise ValueError("the body must be a JSON object")  # noqa: TRY004 - clients get one kind of error
    return fields


def _stats(sandbox: Controlled, _query: dict[str, str]) -> Fields:
    state = sandbox.state
    return {
        "cases": len(state.cases),
        "mints": state.tokens.mints.total(),
        "mints_by_tenant": dict(state.tokens.mints),
        "requests": state.traffic.counts(),
        "max_cases_per_reference": state.cases.max_per_creditor_reference,
        "max_cases_per_body": state.cases.max_per_body,
        "keys_in_flight": state.keys.in_flight,
        "faults": [rule.as_json() for rule in state.faults.rules],
    }


def _requests(sandbox: Controlled, query: dict[str, str]) -> list[Fields]:
    return sandbox.state.traffic.listed(path=query.get("path"), tenant=query.get("tenant"))


def _set_link(sandbox: Controlled, fields: Fields) -> Fields:
    tenant, state = fields.get("externalTenantId"), fields.get("state")
    if not isinstance(tenant, str) or not tenant or state not in LINK_STATES:
        raise ValueError(f"give externalTenantId and a state: {', '.join(LINK_STATES)}")
    sandbox.state.links[tenant] = state
    return {"externalTenantId": tenant, "state": state}


def _revoke(sandbox: Controlled, fields: Fields) -> Fields:
    tenant = fields.get("externalTenantId")
    if not isinstance(tenant, str | None):
        raise ValueError("externalTenantId must be a string")  # noqa: TRY004 - clients get one kind of error
    return {"revoked": sandbox.state.tokens.revoke(tenant)}


def _set_api_key(sandbox: Controlled, fields: Fields) -> Fields:
    accepted = fields.get("accepted")
    if not isinstance(accepted, bool):
        raise ValueError("accepted must be true or false")  # noqa: TRY004 - clients get one kind of error
    sandbox.state.api_key_accepted = accepted
    return {"accepted": accepted}


def _set_settings(sandbox: Controlled, fields: Fields) -> Fields:
    state = sandbox.state
    if unknown := fields.keys() - {"tokenSeconds", "latencyMs", "rateLimits"}:
        raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
    seconds = _number(fields, "tokenSeconds", state.token_seconds)
    latency = _number(fields, "latencyMs", state.latency_seconds * 1000)
    limits = RateLimits(fields.get("rateLimits") or "") if "rateLimits" in fields else state.limits
    state.token_seconds, state.latency_seconds, state.limits = seconds, latency / 1000, limits
    return {"tokenSeconds": seconds, "latencyMs": latency, "rateLimits": limits.notation}


def _set_faults(sandbox: Controlled, fields: Fields) -> Fields:
    sandbox.state.faults.replace(fields.get("rules"))
    return {"rules": [rule.as_json() for rule in sandbox.state.faults.rules]}


def _send_webhook(sandbox: Controlled, fields: Fields) -> Fields:
    """Send an event to `url`, signed with the base64 `secret`. `id` repeats an event; `ageSeconds` backdates it."""
    state, event = sandbox.state, fields.get("event")
    tenant, event_id = fields.get("externalTenantId"), fields.get("id") or str(uuid4())
    if not isinstance(event, str) or not event:
        raise ValueError("event must be a name such as client.linked")
    if not isinstance(tenant, str | None) or not isinstance(event_id, str):
        raise ValueError("externalTenantId and id must be strings")  # noqa: TRY004 - clients get one kind of error
    receiver = Receiver.parse(fields.get("url"), fields.get("secret"))
    signed_at = state.clock() - _number(fields, "ageSeconds", 0.0)
    body = body_of(event, tenant, event_id, at=state.clock())
    return state.webhooks.send(receiver, event, body, event_id, signed_at=signed_at).as_json()


def _reset(sandbox: Controlled, _fields: Fields) -> Fields:
    sandbox.reset()
    return {"reset": True}


def _number(fields: Fields, name: str, default: float) -> float:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ValueError(f"{name} must be a number of at least 0")
    return value


_READ: dict[str, Callable[[Controlled, dict[str, str]], Any]] = {
    "health": lambda _sandbox, _query: {"status": "ok"},
    "stats": _stats,
    "cases": lambda sandbox, _query: sandbox.state.cases.listed(),
    "requests": _requests,
    "webhooks": lambda sandbox, _query: [delivery.as_json() for delivery in sandbox.state.webhooks.deliveries],
}
_WRITE: dict[str, Callable[[Controlled, Fields], Fields]] = {
    "links": _set_link,
    "revoke-tokens": _revoke,
    "forget-keys": lambda sandbox, _fields: {"forgotten": sandbox.state.keys.forget()},
    "api-key": _set_api_key,
    "settings": _set_settings,
    "faults": _set_faults,
    "webhook": _send_webhook,
    "reset": _reset,
}
