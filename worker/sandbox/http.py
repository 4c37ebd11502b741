"""HTTP/1.1 on one socket, with full control over how a response is delivered.

An existing server would repair or hide exactly the faults that the sandbox must produce.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import traceback
from collections import deque
from collections.abc import Callable, MutableSet
from http import HTTPStatus
from typing import cast

import httptools

from worker.sandbox.messages import PROBLEM, Delivery, Outcome, Pending, Reply, Request, api_error, problem

MAX_BODY_BYTES = 1_048_576
MAX_HEADER_BYTES = 32_768
MAX_PIPELINED = 32
DRIP_PIECES = 10
LINGER_SECONDS = 1.0
"""How long to keep the socket open after an early error response, so that the client can read it."""

_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}
_NO_LINGER = struct.pack("ii", 1, 0)  # Makes close() send RST instead of FIN.


class _RefusedError(Exception):
    """Raised inside a parser callback to stop parsing; the status is in `Connection.refusal`."""


def head(reply: Reply, *, keep_alive: bool) -> bytes:
    """The status line and headers of a reply; 204 and 304 carry no length, as the standard requires."""
    line = _STATUS_LINES.get(reply.status) or f"HTTP/1.1 {reply.status} Unknown\r\n".encode()
    if reply.status in (204, 304):
        parts = [line]
    else:
        parts = [line, b"content-type: %b\r\ncontent-length: %d\r\n" % (reply.content_type, len(reply.body))]
    parts += [b"%b: %b\r\n" % header for header in reply.headers]
    parts.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
    return b"".join(parts)


class Connection(asyncio.Protocol):
    """Parses requests, handles them one at a time, and delivers the replies."""

    def __init__(self, handle: Callable[[Request], Outcome], connections: MutableSet[Connection]) -> None:
        self.handle = handle
        self.connections = connections
        self.transport: asyncio.Transport
        self.loop = asyncio.get_running_loop()
        self.parser = httptools.HttpRequestParser(self)
        self.waiting: deque[Request] = deque()
        self.busy = False
        self.deaf = False
        self.refusal = 0
        self.on_message_begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's transports are not subclasses of it
        self.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.deaf = True  # Upgrades are not supported, and what follows is not HTTP.
        except httptools.HttpParserError:
            self.deaf = True
            self.refusal = self.refusal or 400
        self._serve_waiting()

    # The parser's callbacks.

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers: dict[bytes, bytes] = {}
        self.header_bytes = 0
        self.body: list[bytes] = []
        self.body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self.url += url
        self._bound(len(self.url), MAX_HEADER_BYTES, 414)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.header_bytes += len(name) + len(value)
        self._bound(self.header_bytes, MAX_HEADER_BYTES, 431)
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        length = self.headers.get(b"content-length", b"0")
        self._bound(int(length) if length.isdigit() else 0, MAX_BODY_BYTES, 413)
        if self.headers.get(b"expect", b"").lower() == b"100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, piece: bytes) -> None:
        self.body_bytes += len(piece)
        self._bound(self.body_bytes, MAX_BODY_BYTES, 413)
        self.body.append(piece)

    def on_message_complete(self) -> None:
        path, _, query = self.url.partition(b"?")
        method = self.parser.get_method().decode("ascii")
        body = self.body[0] if len(self.body) == 1 else b"".join(self.body)
        keep_alive = self.parser.should_keep_alive()
        self.waiting.append(
            Request(method, path.decode("latin-1"), query.decode("latin-1"), self.headers, body, keep_alive)
        )
        if len(self.waiting) >= MAX_PIPELINED:
            self.transport.pause_reading()

    def _bound(self, size: int, limit: int, status: int) -> None:
        if size > limit:
            self.refusal = status
            raise _RefusedError

    # Serving, in order of arrival.

    def _serve_waiting(self) -> None:
        while self.waiting and not self.busy and not self.transport.is_closing():
            request = self.waiting.popleft()
            if not self.waiting:
                self.transport.resume_reading()
            outcome = self._guarded(lambda request=request: self.handle(request))  # type: ignore[misc]
            if isinstance(outcome, Pending):
                self.busy = True
                self.loop.call_later(outcome.delay, self._finish, request, outcome)
            else:
                self._deliver(request, outcome)
        if self.refusal and not self.busy and not self.transport.is_closing():
            self._refuse()

    def _guarded(self, make: Callable[[], Outcome]) -> Outcome:
        try:
            return make()
        except Exception:  # noqa: BLE001 - on any error, the client gets a 500 and stderr gets the traceback
            traceback.print_exc()
            return Reply(500, api_error("InternalServerError", "The sandbox itself failed; see its stderr."))

    def _finish(self, request: Request, pending: Pending) -> None:
        reply = self._guarded(pending.finish)
        assert isinstance(reply, Reply)
        self.busy = False
        if not self.transport.is_closing():
            self._deliver(request, reply)
            self._serve_waiting()

    def _deliver(self, request: Request, reply: Reply) -> None:
        if reply.delivery is Delivery.RESET:
            self._reset()
            return
        if reply.delivery is Delivery.HANG:
            self.busy = True
            return
        request.on_sent(reply.status)
        start = head(reply, keep_alive=request.keep_alive)
        bodiless = request.method == "HEAD" or reply.status in (204, 304)
        body = b"" if bodiless else reply.body
        if reply.delivery is Delivery.TRUNCATE:
            self.transport.write(start + body[: len(body) // 2])
            self.transport.close()
        elif reply.delivery is Delivery.DRIP:
            self.busy = True
            self.transport.write(start)
            self._drip(request, body, max(1, len(body) // DRIP_PIECES), reply.drip_seconds / DRIP_PIECES)
        else:
            self.transport.write(start + body)
            if not request.keep_alive:
                self.transport.close()

    def _drip(self, request: Request, body: bytes, size: int, pause: float) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(body[:size])
        if len(body) > size:
            self.loop.call_later(pause, self._drip, request, body[size:], size, pause)
            return
        self.busy = False
        if not request.keep_alive:
            self.transport.close()
        self._serve_waiting()

    def _reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()

    def _refuse(self) -> None:
        """Answer a request that could not be parsed. Closing at once would reset the connection before the client reads
        the answer, because the rest of the request is unread. So discard that for a moment first."""
        title = HTTPStatus(self.refusal).phrase
        reply = Reply(self.refusal, problem(self.refusal, title, "The request was refused unread."), PROBLEM)
        self.refusal = 0
        self.transport.write(head(reply, keep_alive=False) + reply.body)
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)
