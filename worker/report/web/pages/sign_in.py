"""Sign in, sign out, and choose the light or dark theme."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from worker.report.formatting import span
from worker.report.web.authentication import TooManyAttempts
from worker.report.web.request_context import THEMES, RequestContext, local_path
from worker.report.web.sessions import cookie_name

#: Seconds that the theme is remembered: a year.
_YEAR = 365 * 86_400


def login_form(context: RequestContext) -> Response:
    """Show the sign-in form; redirect users who are already signed in."""
    back = local_path(context.query.get("next", "/"))
    if context.person:
        return RedirectResponse(back, 303)
    if not context.report.web.users:
        return RedirectResponse("/", 303)
    return context.page("login.html", next=back, name="", problem=None)


def login(context: RequestContext) -> Response:
    """Check name and password. Don't reveal which of the two is wrong."""
    back, name = local_path(context.text("next") or "/"), context.text("name", 100)
    password = context.form.get("password")
    result = context.report.authenticator.sign_in(
        context.peer, name, password[:1000] if isinstance(password, str) else ""
    )
    if isinstance(result, TooManyAttempts):
        problem = f"Too many attempts. Try again in {span(result.seconds)}."
        response = context.page("login.html", 429, next=back, name=name, problem=problem)
        response.headers["Retry-After"] = str(int(result.seconds) + 1)
        return response
    if result is None:
        return context.page("login.html", 403, next=back, name=name, problem="Name or password is wrong.")
    response = RedirectResponse(back, 303)
    context.set_session_cookie(response, context.report.sessions.signed_in(result))
    return response


def logout(context: RequestContext) -> Response:
    """End the session."""
    response = RedirectResponse("/login", 303)
    response.delete_cookie(
        cookie_name(secure=context.peer.secure), secure=context.peer.secure, httponly=True, samesite="lax"
    )
    return response


def theme(context: RequestContext) -> Response:
    """Set the light or dark theme, for browsers without our script."""
    response = RedirectResponse(local_path(context.text("next") or "/"), 303)
    if (chosen := context.text("theme")) in THEMES:
        response.set_cookie("theme", chosen, max_age=_YEAR, secure=context.peer.secure, samesite="lax")
    return response
