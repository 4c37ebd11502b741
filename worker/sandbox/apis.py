"""Both APIs on one port: find the route, log the request, apply faults and latency, set the content type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from worker.sandbox import control, customer, referral, submission
from worker.sandbox.messages import JSON, PROBLEM, TEXT, Outcome, Pending, Reply, Request, api_error, problem, then
from worker.sandbox.state import Settings, State

Handler = Callable[[State, Request, str, float], Outcome]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `path` ends with `{...}` when the rest of the path is its argument."""

    method: str
    path: str
    endpoint: str
    """The name used in fault rules."""
    handler: Handler
    offers_text: bool
    """Whether text/plain is listed first among its media types."""

    @property
    def name(self) -> str:
        """`POST /cases`: the key in the statistics."""
        return f"{self.method} {self.path}"


ROUTES = (
    Route("POST", "/cases", "cases", submission.post_case, offers_text=True),
    Route("POST", "/oauth/token", "token", referral.post_token, offers_text=False),
    Route("GET", "/me", "me", customer.get_me, offers_text=True),
    Route("GET", "/clients/{externalTenantId}", "clients", referral.get_client, offers_text=False),
    Route(
        "GET",
        "/cases/by-creditor-reference/{creditorReference}",
        "lookup",
        customer.get_case_by_creditor_reference,
        offers_text=True,
    ),
    Route("GET", "/cases/case-reference/{caseReference}", "lookup", customer.get_case_by_reference, offers_text=True),
    Route("GET", "/cases/{id}", "lookup", customer.get_case, offers_text=True),
)
_FIXED = {route.path: route for route in ROUTES if "{" not in route.path}
_PREFIXED = [(route.path.partition("{")[0], route) for route in ROUTES if "{" in route.path]
_JSON_TYPES = (b"application/json", b"application/json-patch+json", b"text/json")


class Sandbox:
    """The application behind the socket."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state: State = State(settings)

    def reset(self) -> None:
        """Forget everything and restore the initial settings."""
        self.state = State(self.settings)

    def handle(self, request: Request) -> Outcome:
        """Answer one request."""
        if request.path.startswith(control.PREFIX):
            return control.answer(self, request)
        state = self.state
        route, argument = find_route(request.path)
        tenant = _tenant_of(state, request, route, argument)
        state.traffic.record(request, at=state.clock(), route=_name(request, route), tenant=tenant)
        rule = state.faults.pick(route.endpoint if route else "", tenant) if state.faults.rules else None
        delay = state.latency_seconds + (rule.delay_seconds if rule else 0.0)
        outcome: Outcome | None = rule.instead() if rule else None
        if outcome is None:
            outcome = _dispatch(state, request, route, argument, delay)
            outcome = then(outcome, rule.afterwards) if rule else outcome
        if route and route.offers_text and b"application/json" not in request.headers.get(b"accept", b"").lower():
            outcome = then(outcome, _as_text)
        if delay and isinstance(outcome, Reply):
            reply = outcome
            return Pending(delay, lambda: reply)
        return outcome


def find_route(path: str) -> tuple[Route | None, str]:
    """The route of a path and its decoded argument."""
    route = _FIXED.get(path)
    if route is not None:
        return route, ""
    for prefix, candidate in _PREFIXED:
        if path.startswith(prefix) and len(path) > len(prefix):
            return candidate, unquote(path[len(prefix) :])
    return None, ""


def _dispatch(state: State, request: Request, route: Route | None, argument: str, delay: float) -> Outcome:
    if route is None:
        return Reply(404, api_error("NotFound", "There is no such resource."))
    if request.method != route.method:
        return Reply(405, headers=((b"allow", route.method.encode()),))
    if route.method == "POST" and not _is_json(request.headers.get(b"content-type", b"")):
        return Reply(415, problem(415, "Unsupported Media Type", "Send application/json."), PROBLEM)
    return route.handler(state, request, argument, delay)


def _tenant_of(state: State, request: Request, route: Route | None, argument: str) -> str | None:
    if route is None:
        return None
    if route.endpoint == "token":
        return referral.tenant_in(request.body)
    if route.endpoint == "clients":
        return argument
    token = state.tokens.of_header(request.headers.get(b"authorization", b""))
    return None if token is None else token.tenant


def _name(request: Request, route: Route | None) -> str:
    return route.name if route and route.method == request.method else f"{request.method} (other)"


def _is_json(content_type: bytes) -> bool:
    media = content_type.partition(b";")[0].strip().lower()
    return media in _JSON_TYPES or (media.startswith(b"application/") and media.endswith(b"+json"))


def _as_text(reply: Reply) -> Reply:
    # The published description lists text/plain first, so clients that do not ask for JSON get that.
    if reply.content_type is JSON:
        reply.content_type = TEXT
    return reply
