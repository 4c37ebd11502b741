"""A small HTTP server for monitoring: a thread in the worker's main process that serves a few GET paths."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

import structlog

from worker.errors import SettingsError

log = structlog.get_logger(__name__)

#: Seconds in which a client must send its request.
REQUEST_TIMEOUT = 10.0

#: Status, content type, body.
PageResponse = tuple[int, str, bytes]
#: Called with the Accept header.
Page = Callable[[str | None], PageResponse]


class HealthServer(ThreadingHTTPServer):
    """Serves GET for a few paths."""

    daemon_threads = True
    # Open requests must not delay the worker's shutdown.
    block_on_close = False

    def __init__(self, host: str, port: int, pages: dict[str, Page]) -> None:
        """Listen on the address. Raises OSError."""
        self.pages = pages
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        super().__init__((host, port), _Handler)

    @property
    def port(self) -> int:
        """The actual port, if 0 was requested."""
        return int(self.server_address[1])

    def server_bind(self) -> None:
        """Bind without a DNS look-up of our own name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "case-worker", self.port

    def start(self) -> None:
        """Start serving in a thread."""
        threading.Thread(target=self.serve_forever, name="metrics", daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the library's signature
        """Log the error only: a lost client or a bug in a page must not affect the worker."""
        log.warning("metrics_request_failed", exc_info=True)


def listen(host: str, port: int, pages: dict[str, Page]) -> HealthServer:
    """Create a listening server. Raises SettingsError if it cannot listen."""
    try:
        return HealthServer(host.strip("[]"), port, pages)
    except OSError as error:
        raise SettingsError(
            f"WORKER_METRICS_HOST and WORKER_METRICS_PORT should be an address to listen on, not {host!r} and"
            f" {port}: {error.strerror}"
        ) from None


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_TIMEOUT
    server: HealthServer

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        status, kind, body = page(self.headers.get("Accept")) if page else (404, "text/plain", b"no such page\n")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing per request."""

    def version_string(self) -> str:
        """Don't reveal library versions."""
        return "case-worker"
