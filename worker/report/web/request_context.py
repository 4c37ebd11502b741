"""What a page knows of its request, and the route from a URL to the page's function.

Pages are plain functions that run in a thread, because they read the ledger. Before one runs, the user is authenticated
and a form's CSRF token is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

from sqlalchemy import Connection, Engine
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from worker.case.protection import Protection
from worker.fleet.reading import FleetReader
from worker.ledger.writer.resolve import Actor
from worker.policy.rate_limit import Pace
from worker.report.runner import OperationRunner
from worker.report.web.authentication import Authenticator, Refused
from worker.report.web.configuration import WebSettings
from worker.report.web.menu_cache import MenuCache
from worker.report.web.peers import Peer, peer_of
from worker.report.web.people import Person, Role
from worker.report.web.rendering import Renderer
from worker.report.web.sessions import LIFETIME, Session, Sessions, cookie_name
from worker.settings import Settings

THEMES = ("light", "dark")


class InvalidForm(HTTPException):
    """The form comes from another site or from an expired session."""

    def __init__(self) -> None:
        super().__init__(403, "This form is no longer valid. Go back, load the page again, and send it once more.")


@dataclass(frozen=True, slots=True)
class Report:
    """The state that all requests share."""

    settings: Settings
    web: WebSettings
    engine: Engine
    sessions: Sessions
    authenticator: Authenticator
    renderer: Renderer
    runner: OperationRunner
    pace: Pace
    fleet: FleetReader
    menus: MenuCache = field(default_factory=MenuCache)

    @property
    def protection(self) -> Protection:
        """How cases are encrypted."""
        return self.settings.protection


@dataclass(slots=True)
class RequestContext:
    """One request, with its user and session."""

    request: Request
    report: Report
    peer: Peer
    session: Session
    person: Person | None
    form: FormData = field(default_factory=FormData)

    @property
    def query(self) -> QueryParams:
        """The URL's query parameters."""
        return self.request.query_params

    def actor(self, note: str | None = None) -> Actor:
        """The authenticated user, for the audit log. Call it only on pages that need a role."""
        assert self.person is not None
        return Actor(self.person.name, note)

    @property
    def channel(self) -> dict[str, Any]:
        """How the user acted, for the audit log."""
        return {"door": "web page", "address": self.peer.address}

    def text(self, name: str, longest: int = 2000) -> str:
        """A form field, stripped of surrounding white space; empty if it is missing."""
        value = self.form.get(name)
        return value.replace("\x00", "").strip()[:longest] if isinstance(value, str) else ""

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Read the ledger in one snapshot, so that the numbers on a page agree."""
        engine = self.report.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with engine.connect() as connection:
            yield connection

    def page(self, template: str, status: int = 200, **facts: Any) -> Response:
        """Render a template as the response."""
        facts |= {
            "person": self.person,
            "form_token": self.report.sessions.form_token(self.session),
            "theme": self.request.cookies.get("theme") if self.request.cookies.get("theme") in THEMES else None,
            "here": path_and_query(self.request),
            "path": self.request.url.path,
            "open_to_all": self.report.web.local_only,
        }
        response = Response(self.report.renderer.render(template, facts), status, media_type="text/html")
        # Not in reply to a POST: one from another site comes without the cookie, and would replace the user's session.
        if self.session.new and self.request.method == "GET":
            self.set_session_cookie(response, self.session)
        return response

    def set_session_cookie(self, response: Response, session: Session) -> None:
        """Give the browser its session."""
        response.set_cookie(
            cookie_name(secure=self.peer.secure), self.report.sessions.write(session), max_age=LIFETIME, path="/",
            secure=self.peer.secure, httponly=True, samesite="lax",
        )  # fmt: skip


Handler = Callable[[RequestContext], Response]


class Endpoint(Protocol):
    """The endpoint signature that Starlette calls."""

    async def __call__(self, request: Request) -> Response:
        """Return the response to a request."""


def route(path: str, handler: Handler, *, post: bool = False, needs: Role | None = Role.VIEWER) -> Route:
    """A route for users with the role `needs`; open to everyone if it is None."""

    async def endpoint(request: Request) -> Response:
        context = request_context(request)
        if post:
            context.form = await request.form(max_files=0, max_fields=2000)
            check_form(context)
        if needs is not None and (refusal := await run_in_threadpool(access_refusal, context, needs)):
            return refusal
        return await run_in_threadpool(handler, context)

    return Route(path, endpoint, methods=["POST" if post else "GET"])


def request_context(request: Request) -> RequestContext:
    """Authenticate the request. `person` is None if the user is not signed in."""
    report: Report = request.app.state.report
    peer = peer_of(request.scope, report.web)
    session = report.sessions.read(request.cookies.get(cookie_name(secure=peer.secure)))
    person = report.authenticator.authenticate(peer, session)
    return RequestContext(request, report, peer, session, person if isinstance(person, Person) else None)


def check_form(context: RequestContext) -> None:
    """Raise InvalidForm unless a page of this session made the form."""
    # Browsers that send this header are checked early; the token decides for all of them.
    if context.request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise InvalidForm
    token = context.form.get("form_token")
    if not isinstance(token, str) or not context.report.sessions.is_form_token(context.session, token):
        raise InvalidForm


def access_refusal(context: RequestContext, needs: Role) -> Response | None:
    """The response that refuses the request, or None if the user has the role."""
    if context.person is None:
        result = context.report.authenticator.authenticate(context.peer, context.session)
        if isinstance(result, Refused):
            return context.page("error.html", 403, title="You may not use this page", message=result.why)
        back = path_and_query(context.request) if context.request.method == "GET" else "/"
        return RedirectResponse("/login?" + urlencode({"next": back}), 303)
    if needs is Role.OPERATOR and not context.person.may_act:
        message = "You can read everything here, but only the role operator can change anything."
        return context.page("error.html", 403, title="This is for operators", message=message)
    return None


def path_and_query(request: Request) -> str:
    """The path and query of this request, to return to later."""
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


def local_path(text: str) -> str:
    """`text` if it is a path of this site, else `/`: prevents redirects to other sites."""
    fine = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and "\\" not in text
    return text if fine else "/"
