"""Build the application: routes, error pages and shared state."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from uuid import uuid4

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from worker.errors import CaseSealed, JobNotFound, OperationNotFound
from worker.fleet.reading import FleetReader
from worker.fleet.settings import FleetSettings
from worker.policy.rate_limit import Pace
from worker.report.runner import OperationRunner
from worker.report.web.authentication import Authenticator
from worker.report.web.configuration import WebSettings
from worker.report.web.labels import sentence
from worker.report.web.pages import (
    act,
    audit,
    brake,
    edit,
    export,
    files,
    find,
    front,
    job,
    jobs,
    links,
    message,
    monitoring,
    progress,
    sign_in,
)
from worker.report.web.people import Role
from worker.report.web.rendering import Renderer
from worker.report.web.request_context import Report, request_context, route
from worker.report.web.security_middleware import SecurityMiddleware
from worker.report.web.sessions import Sessions
from worker.report.web.throttle import Throttle
from worker.report.web.webhook import PATH as WEBHOOK
from worker.report.web.webhook import Webhook
from worker.report.webhooks.inbox import Inbox, webhook_secrets
from worker.settings import Settings
from worker.telemetry.metrics.registry import enable_metrics

log = structlog.get_logger(__name__)


def routes() -> list[BaseRoute]:
    """Every address, with the role that it needs."""
    return [
        route("/healthz", monitoring.healthz, needs=None),
        route("/readyz", monitoring.readyz, needs=None),
        route("/metrics", monitoring.metrics, needs=None),
        route("/scaling", monitoring.scaling, needs=None),
        Route("/static/{mark}/{name}", files.static),
        route("/login", sign_in.login_form, needs=None),
        route("/login", sign_in.login, post=True, needs=None),
        route("/logout", sign_in.logout, post=True, needs=None),
        route("/theme", sign_in.theme, post=True, needs=None),
        route("/", front.front),
        route("/links", links.links),
        route("/links/check", links.to_links),
        route("/links/check", links.check, post=True),
        route("/find", find.find),
        route("/jobs", jobs.jobs),
        route("/jobs/{job_id}", job.job),
        route("/jobs/{job_id}/mark.json", job.follow),
        route("/jobs/{job_id}/reveal", job.to_job),
        route("/jobs/{job_id}/reveal", job.reveal, post=True, needs=Role.OPERATOR),
        route("/jobs/{job_id}/edit", job.to_job),
        route("/jobs/{job_id}/edit", edit.edit, post=True, needs=Role.OPERATOR),
        route("/jobs/{job_id}/correct", job.to_job),
        route("/jobs/{job_id}/correct", edit.save, post=True, needs=Role.OPERATOR),
        route("/messages/{number:int}", message.message),
        route("/messages/{number:int}/reveal", message.to_message),
        route("/messages/{number:int}/reveal", message.reveal, post=True, needs=Role.OPERATOR),
        route("/act", act.show_preview, needs=Role.OPERATOR),
        route("/act", act.confirm, post=True, needs=Role.OPERATOR),
        route("/brake", brake.to_front),
        route("/brake", brake.answer, post=True, needs=Role.OPERATOR),
        route("/operations", progress.activity),
        route("/audit", audit.audit_view),
        route("/audit.csv", export.audit_csv),
        route("/operations/{number:int}", progress.progress),
        route("/operations/{number:int}/progress.json", progress.progress_json),
        route("/operations/{number:int}/cancel", progress.to_progress),
        route("/operations/{number:int}/cancel", progress.stop, post=True, needs=Role.OPERATOR),
        route("/operations/{number:int}/result.csv", export.result),
        route("/export.csv", export.as_csv),
        route("/export.json", export.as_json),
    ]


def create_application(
    settings: Settings, engine: Engine, environ: Mapping[str, str], *, local_name: str = "local user"
) -> SecurityMiddleware:
    """Build the ASGI application. Raises SettingsError.

    `local_name` is the user name in the audit log when no sign-in is configured.
    """
    web = WebSettings.from_environment(environ, settings)
    secrets = webhook_secrets(environ)
    enable_metrics()
    runner = OperationRunner(engine)
    inbox = Inbox(engine, runner.kick)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        runner.start()
        if secrets:
            inbox.start()
        yield
        await run_in_threadpool(inbox.stop)
        await run_in_threadpool(runner.stop)

    app = Starlette(
        routes=[*routes(), Route(WEBHOOK, Webhook(engine, secrets, inbox.kick))],
        lifespan=lifespan,
        exception_handlers={
            HTTPException: _refusal, JobNotFound: _not_found, OperationNotFound: _not_found, DBAPIError: _no_database,
            CaseSealed: _sealed, Exception: _internal_error,
        },
    )  # fmt: skip
    authenticator = Authenticator(web, Throttle(settings.redis_url), local_name=local_name)
    app.state.report = Report(
        settings,
        web,
        engine,
        Sessions(web.secret_key),
        authenticator,
        Renderer(),
        runner,
        Pace.parse(settings.rate_limits),
        FleetReader(settings, FleetSettings.from_environment(environ), engine),
    )
    # Outermost, so that it also covers Starlette's own error responses.
    return SecurityMiddleware(app, web)


_MESSAGES = {
    403: ("You may not do this", "It needs another role, or must come from a page of this site."),
    404: ("There is no such page", "The address may be incomplete, or the record is gone."),
    405: ("This page does not accept that request", "Go back, and use the buttons on the page."),
    413: ("That is too large", "A form may have at most 4 MB."),
}


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title, message = _MESSAGES.get(error.status_code, ("That request failed", "Go back and try again."))
    if error.status_code == 403 and error.detail != "Forbidden":
        title, message = "This form is out of date", error.detail
    return await _page(request, error.status_code, title, message)


async def _not_found(request: Request, error: Exception) -> Response:
    return await _page(request, 404, "Not found", sentence(error))


async def _sealed(request: Request, error: Exception) -> Response:
    return await _page(request, 409, "This case cannot be decrypted", sentence(error))


async def _no_database(request: Request, error: Exception) -> Response:
    log.warning("page_without_database", path=request.url.path, error=type(error).__name__)
    message = "Nothing was changed. It may be restarting or overloaded: try again in a moment."
    return await _page(request, 503, "The database does not respond", message)


async def _internal_error(request: Request, error: Exception) -> Response:
    number = uuid4().hex[:12]
    log.error("page_failed", path=request.url.path, incident=number, exc_info=error)
    message = f"This is a bug in the page. The log has the details under incident {number}."
    return await _page(request, 500, "Something went wrong", message)


async def _page(request: Request, status: int, title: str, message: str) -> Response:
    if request.url.path.endswith(".json"):
        return JSONResponse({"error": title, "said": message}, status)
    context = request_context(request)
    return await run_in_threadpool(lambda: context.page("error.html", status, title=title, message=message))
