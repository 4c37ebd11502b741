"""Signing in and out, and choosing between light and dark."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from worker.report.formatting import span
from worker.report.web.asking import THEMES, Ask, local_path
from worker.report.web.doorkeeper import TryLater
from worker.report.web.sessions import cookie_name

#: Seconds that a choice of colours is kept: a year.
_YEAR = 365 * 86_400


def login_form(ask: Ask) -> Response:
    """Where to sign in; whoever is in already goes on."""
    back = local_path(ask.query.get("next", "/"))
    if ask.person:
        return RedirectResponse(back, 303)
    if not ask.report.web.users:
        return RedirectResponse("/", 303)
    return ask.page("login.html", next=back, name="", problem=None)


def login(ask: Ask) -> Response:
    """Check name and password. Which of the two is wrong is not said."""
    back, name = local_path(ask.text("next") or "/"), ask.text("name", 100)
    password = ask.form.get("password")
    known = ask.report.doorkeeper.sign_in(ask.peer, name, password[:1000] if isinstance(password, str) else "")
    if isinstance(known, TryLater):
        problem = f"Too many tries. The next one is possible in {span(known.seconds)}."
        response = ask.page("login.html", 429, next=back, name=name, problem=problem)
        response.headers["Retry-After"] = str(int(known.seconds) + 1)
        return response
    if known is None:
        return ask.page("login.html", 403, next=back, name=name, problem="Name or password is wrong.")
    response = RedirectResponse(back, 303)
    ask.give(response, ask.report.sessions.signed_in(known))
    return response


def logout(ask: Ask) -> Response:
    """Forget the session."""
    response = RedirectResponse("/login", 303)
    response.delete_cookie(cookie_name(secure=ask.peer.secure), secure=ask.peer.secure, httponly=True, samesite="lax")
    return response


def theme(ask: Ask) -> Response:
    """Light or dark from now on, for those without our script."""
    response = RedirectResponse(local_path(ask.text("next") or "/"), 303)
    if (chosen := ask.text("theme")) in THEMES:
        response.set_cookie("theme", chosen, max_age=_YEAR, secure=ask.peer.secure, samesite="lax")
    return response
