"""The page put together: routes, errors in words, and what all requests share."""

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
from worker.report.web.asking import Report, meet, route
from worker.report.web.configuration import WebSettings
from worker.report.web.doorkeeper import Doorkeeper
from worker.report.web.gate import Gate
from worker.report.web.pages import (
    act,
    audit,
    edit,
    entry,
    export,
    files,
    find,
    front,
    job,
    jobs,
    links,
    machines,
    message,
    progress,
)
from worker.report.web.people import Role
from worker.report.web.rendering import Renderer
from worker.report.web.sessions import Sessions
from worker.report.web.throttle import Throttle
from worker.report.web.webhook import PATH as WEBHOOK
from worker.report.web.webhook import Webhook
from worker.report.web.words import sentence
from worker.report.webhooks.inbox import Inbox, webhook_secrets
from worker.settings import Settings
from worker.telemetry.metrics.registry import open_book

log = structlog.get_logger(__name__)


def routes() -> list[BaseRoute]:
    """Every address, and who may ask for it."""
    return [
        route("/healthz", machines.healthz, needs=None),
        route("/readyz", machines.readyz, needs=None),
        route("/metrics", machines.metrics, needs=None),
        route("/scaling", machines.scaling, needs=None),
        Route("/static/{mark}/{name}", files.static),
        route("/login", entry.login_form, needs=None),
        route("/login", entry.login, post=True, needs=None),
        route("/logout", entry.logout, post=True, needs=None),
        route("/theme", entry.theme, post=True, needs=None),
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
        route("/act", act.look, needs=Role.OPERATOR),
        route("/act", act.confirm, post=True, needs=Role.OPERATOR),
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
    settings: Settings, engine: Engine, environ: Mapping[str, str], *, local_name: str = "somebody on this machine"
) -> Gate:
    """The page as an ASGI application. Raises SettingsError.

    `local_name` is whom the audit log names where nobody has to sign in.
    """
    web = WebSettings.from_environment(environ, settings)
    secrets = webhook_secrets(environ)
    open_book()
    runner = OperationRunner(engine)
    inbox = Inbox(engine, runner.kick)

    @asynccontextmanager
    async def living(_app: Starlette) -> AsyncIterator[None]:
        runner.start()
        if secrets:
            inbox.start()
        yield
        await run_in_threadpool(inbox.stop)
        await run_in_threadpool(runner.stop)

    app = Starlette(
        routes=[*routes(), Route(WEBHOOK, Webhook(engine, secrets, inbox.kick))],
        lifespan=living,
        exception_handlers={
            HTTPException: _refusal, JobNotFound: _not_there, OperationNotFound: _not_there, DBAPIError: _no_database,
            CaseSealed: _sealed, Exception: _trouble,
        },
    )  # fmt: skip
    doorkeeper = Doorkeeper(web, Throttle(settings.redis_url), local_name=local_name)
    app.state.report = Report(
        settings,
        web,
        engine,
        Sessions(web.secret_key),
        doorkeeper,
        Renderer(),
        runner,
        Pace.parse(settings.rate_limits),
        FleetReader(settings, FleetSettings.from_environment(environ), engine),
    )
    # Around everything, Starlette's own answer to an unforeseen error included.
    return Gate(app, web)


_SAID = {
    403: ("You may not do this", "This takes another role, or another page to come from."),
    404: ("There is no such page", "The address may be cut off, or what it named is gone."),
    405: ("This page cannot be asked that way", "Go back, and use the page's own buttons."),
    413: ("That is too much", "A form may be 4 MB long at most."),
}


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title, said = _SAID.get(error.status_code, ("That cannot be answered", "Go back and try once more."))
    if error.status_code == 403 and error.detail != "Forbidden":
        title, said = "This form is out of date", error.detail
    return await _page(request, error.status_code, title, said)


async def _not_there(request: Request, error: Exception) -> Response:
    return await _page(request, 404, "There is no such thing here", sentence(error))


async def _sealed(request: Request, error: Exception) -> Response:
    return await _page(request, 409, "This case cannot be opened", sentence(error))


async def _no_database(request: Request, error: Exception) -> Response:
    log.warning("page_without_database", path=request.url.path, error=type(error).__name__)
    said = "Nothing was changed. It may be starting again, or be too busy: try again in a moment."
    return await _page(request, 503, "The database does not answer", said)


async def _trouble(request: Request, error: Exception) -> Response:
    number = uuid4().hex[:12]
    log.error("page_failed", path=request.url.path, incident=number, exc_info=error)
    said = f"The page has a fault. Whoever looks after it finds more in its log under incident {number}."
    return await _page(request, 500, "Something went wrong", said)


async def _page(request: Request, status: int, title: str, said: str) -> Response:
    if request.url.path.endswith(".json"):
        return JSONResponse({"error": title, "said": said}, status)
    ask = meet(request)
    return await run_in_threadpool(lambda: ask.page("error.html", status, title=title, said=said))
