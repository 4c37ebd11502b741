"""Receive Debitura's webhooks. They have no session or form; only the signature authenticates them.

An event is stored, then acknowledged, then processed (`worker.report.webhooks.inbox`): Debitura waits ten seconds,
retries for an hour and a half, and disables a webhook that always fails
(referral-partners/integration-guides/webhooks-best-practices).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from worker.ledger.database import transaction
from worker.ledger.writer.webhooks import count_event, keep_event
from worker.report.webhooks.events import Event, has_event_rule, read_event
from worker.report.webhooks.inbox import is_genuine

log = structlog.get_logger(__name__)

PATH = "/webhooks/debitura"
#: Largest body in bytes (an event has one or two thousand), and the seconds in which it must arrive.
MAX_BODY = 64 * 1024
BODY_TIMEOUT = 10.0


class Webhook:
    """The ASGI application at PATH. Without secrets it answers 404."""

    def __init__(self, engine: Engine, secrets: Sequence[bytes], on_stored: Callable[[], None]) -> None:
        """`on_stored` is called when a new event is ready to be processed."""
        self._engine = engine
        self._secrets = tuple(secrets)
        self._on_stored = on_stored

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if not self._secrets:
            return PlainTextResponse("Not Found\n", 404)
        if request.method != "POST":
            return PlainTextResponse("Only POST is allowed.\n", 405, {"Allow": "POST"})
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                body = await _body(request)
        except (TimeoutError, ClientDisconnect):
            return PlainTextResponse("The body did not arrive in time.\n", 408, {"Connection": "close"})
        if body is None:
            return PlainTextResponse(f"A webhook may have at most {MAX_BODY} bytes.\n", 413, {"Connection": "close"})
        header = request.headers.getlist("x-debitura-signature")
        if len(header) != 1 or not is_genuine(header[0], body, self._secrets, now=time.time()):
            log.warning("webhook_refused", why="signature or age", signed=bool(header))
            return PlainTextResponse("The signature does not match or is too old.\n", 401)
        try:
            event = read_event(body)
        except ValueError as error:
            log.warning("webhook_refused", why=str(error), signed=True)
            return PlainTextResponse(f"This is not an event: {error}.\n", 400)
        return await run_in_threadpool(self._store, event)

    def _store(self, event: Event) -> Response:
        wanted, new = has_event_rule(event.name), False
        try:
            with transaction(self._engine) as connection:
                count_event(connection, event.counted_as)
                if wanted:
                    new = keep_event(connection, event_id=event.id, event=event.name, tenant=event.external_tenant_id)
        except DBAPIError as error:
            # Debitura sends it again, because it was not acknowledged.
            log.warning("webhook_not_kept", error=type(error.orig).__name__)
            return PlainTextResponse("The event could not be stored now.\n", 503)
        log.info("webhook_received", event_id=event.id, name=event.counted_as, wanted=wanted, new=new)
        if new:
            self._on_stored()
        return JSONResponse({"received": True})


async def _body(request: Request) -> bytes | None:
    """The raw body, or None if it is too long. A body announced as too long is not read."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY:
        return None
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_BODY:
            return None
        pieces.append(piece)
    return b"".join(pieces)
