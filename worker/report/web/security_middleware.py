"""Checks on every request (host name, body size) and security headers on every response."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.environment import LOOPBACK
from worker.report.web.configuration import WebSettings
from worker.report.web.webhook import PATH as WEBHOOK

#: Largest form in bytes: a case of 1 MiB, percent-encoded.
MAX_BODY = 4 * 1024 * 1024
#: Load nothing from other sites, run nothing inline, allow no framing, and post forms to this site only.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class SecurityMiddleware:
    """The outermost ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self._app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse invalid requests, and add the security headers to every response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_strictly(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                # Cases are personal data: no cache keeps a page unless the page allows it.
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        if refusal := self._refusal(Headers(scope=scope), scope["path"]):
            await refusal(scope, receive, send_strictly)
            return
        await self._app(scope, _limited(receive), send_strictly)

    def _refusal(self, headers: Headers, path: str) -> PlainTextResponse | None:
        """Without users, only host names of this machine are accepted: else a web site could rebind its name to
        127.0.0.1 and read the page through a visitor's browser. (A webhook uses the public name and is checked by its
        signature.)
        """
        if self.settings.local_only and path != WEBHOOK and _host_name(headers.get("host", "")) not in LOOPBACK:
            return PlainTextResponse("Open this page as 127.0.0.1 or localhost.\n", 421)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return PlainTextResponse(f"A form may have at most {MAX_BODY} bytes.\n", 413)
        return None


def _limited(receive: Receive) -> Receive:
    """Limit the body to MAX_BODY: a chunked one announces no length."""
    seen = 0

    async def receive_limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY:
            raise HTTPException(413)
        return message

    return receive_limited


def _host_name(host: str) -> str:
    """The name in a Host header without the port: `::1` for `[::1]:80`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
