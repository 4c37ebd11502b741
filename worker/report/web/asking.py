"""One request as the pages see it, and the way from a URL to a page's function.

Pages are plain functions that run in a thread, since they read the ledger. Nothing gets to one before it is known who
asks and that a form came from a page of ours.
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
from worker.report.web.configuration import WebSettings
from worker.report.web.doorkeeper import Doorkeeper, Refused
from worker.report.web.menu_cache import MenuCache
from worker.report.web.peers import Peer, peer_of
from worker.report.web.people import Person, Role
from worker.report.web.rendering import Renderer
from worker.report.web.sessions import LIFETIME, Session, Sessions, cookie_name
from worker.settings import Settings

THEMES = ("light", "dark")


class ClosedForm(HTTPException):
    """A form that came from elsewhere, or from a session that is over."""

    def __init__(self) -> None:
        super().__init__(403, "This form is no longer valid. Go back, load the page again, and send it once more.")


@dataclass(frozen=True, slots=True)
class Report:
    """What all requests share."""

    settings: Settings
    web: WebSettings
    engine: Engine
    sessions: Sessions
    doorkeeper: Doorkeeper
    renderer: Renderer
    runner: OperationRunner
    pace: Pace
    fleet: FleetReader
    menus: MenuCache = field(default_factory=MenuCache)

    @property
    def protection(self) -> Protection:
        """How cases are sealed."""
        return self.settings.protection


@dataclass(slots=True)
class Ask:
    """One request."""

    request: Request
    report: Report
    peer: Peer
    session: Session
    person: Person | None
    form: FormData = field(default_factory=FormData)

    @property
    def query(self) -> QueryParams:
        """What stands behind the `?`."""
        return self.request.query_params

    @property
    def actor(self) -> Person:
        """Whoever asks, on pages that nobody sees without having signed in."""
        assert self.person is not None
        return self.person

    def acting(self, note: str | None = None) -> Actor:
        """The same for the audit log."""
        return Actor(self.actor.name, note)

    @property
    def door(self) -> dict[str, Any]:
        """For the audit log: the way by which somebody acted."""
        return {"door": "web page", "address": self.peer.address}

    def text(self, name: str, longest: int = 2000) -> str:
        """A field of the form as one text without white space around it; empty if it is not there."""
        value = self.form.get(name)
        return value.replace("\x00", "").strip()[:longest] if isinstance(value, str) else ""

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """The ledger as of one moment, so that numbers on a page agree."""
        engine = self.report.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with engine.connect() as connection:
            yield connection

    def page(self, template: str, status: int = 200, **facts: Any) -> Response:
        """A page of HTML."""
        facts |= {
            "person": self.person,
            "form_token": self.report.sessions.form_token(self.session),
            "theme": self.request.cookies.get("theme") if self.request.cookies.get("theme") in THEMES else None,
            "here": here(self.request),
            "path": self.request.url.path,
            "open_to_all": self.report.web.anybody,
        }
        response = Response(self.report.renderer.render(template, facts), status, media_type="text/html")
        # Not in answer to a form: one from another site comes without the cookie, and would end the visitor's session.
        if self.session.fresh and self.request.method == "GET":
            self.give(response, self.session)
        return response

    def give(self, response: Response, session: Session) -> None:
        """Hand the browser its session."""
        response.set_cookie(
            cookie_name(secure=self.peer.secure), self.report.sessions.write(session), max_age=LIFETIME, path="/",
            secure=self.peer.secure, httponly=True, samesite="lax",
        )  # fmt: skip


Handler = Callable[[Ask], Response]


class Endpoint(Protocol):
    """What Starlette calls."""

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""


def route(path: str, handler: Handler, *, post: bool = False, needs: Role | None = Role.VIEWER) -> Route:
    """A page for those who have that role; for everybody if `needs` is None."""

    async def endpoint(request: Request) -> Response:
        ask = meet(request)
        if post:
            ask.form = await request.form(max_files=0, max_fields=2000)
            check_form(ask)
        if needs is not None and (refusal := await run_in_threadpool(turn_away, ask, needs)):
            return refusal
        return await run_in_threadpool(handler, ask)

    return Route(path, endpoint, methods=["POST" if post else "GET"])


def meet(request: Request) -> Ask:
    """Find out who asks. `person` is None for somebody who is not signed in."""
    report: Report = request.app.state.report
    peer = peer_of(request.scope, report.web)
    session = report.sessions.read(request.cookies.get(cookie_name(secure=peer.secure)))
    person = report.doorkeeper.admit(peer, session)
    return Ask(request, report, peer, session, person if isinstance(person, Person) else None)


def check_form(ask: Ask) -> None:
    """Raises ClosedForm for a form that no page of this session has made."""
    # Browsers say where a request comes from; the token is what counts, for those that don't.
    if ask.request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise ClosedForm
    token = ask.form.get("form_token")
    if not isinstance(token, str) or not ask.report.sessions.is_form_token(ask.session, token):
        raise ClosedForm


def turn_away(ask: Ask, needs: Role) -> Response | None:
    """The answer for somebody who may not see this page; None for those who may."""
    if ask.person is None:
        told = ask.report.doorkeeper.admit(ask.peer, ask.session)
        if isinstance(told, Refused):
            return ask.page("error.html", 403, title="You are not let in", said=told.why)
        back = here(ask.request) if ask.request.method == "GET" else "/"
        return RedirectResponse("/login?" + urlencode({"next": back}), 303)
    if needs is Role.OPERATOR and not ask.person.may_act:
        said = "You may look at everything here, and act on nothing: that takes the role operator."
        return ask.page("error.html", 403, title="This is for operators", said=said)
    return None


def here(request: Request) -> str:
    """The path and query of this request, to come back to."""
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


def local_path(text: str) -> str:
    """A place on this page to go to; the front page for anything that could lead elsewhere."""
    fine = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and "\\" not in text
    return text if fine else "/"
