"""A small HTTP server for those who watch a worker: in a thread of its main process, GET only, a few pages."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

import structlog

from worker.errors import SettingsError

log = structlog.get_logger(__name__)

#: Seconds that somebody who asks may take for it.
REQUEST_TIMEOUT = 10.0

#: Status, content type, body.
Answer = tuple[int, str, bytes]
#: Given the Accept header.
Page = Callable[[str | None], Answer]


class HealthServer(ThreadingHTTPServer):
    """Answers GET for a few paths."""

    daemon_threads = True
    # Whoever asks when the worker ends must not keep it.
    block_on_close = False

    def __init__(self, host: str, port: int, pages: dict[str, Page]) -> None:
        """Listen. Raises OSError."""
        self.pages = pages
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        super().__init__((host, port), _Handler)

    @property
    def port(self) -> int:
        """The port that was got, where any would do."""
        return int(self.server_address[1])

    def server_bind(self) -> None:
        """Bind, without asking a name server who we are."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "case-worker", self.port

    def start(self) -> None:
        """Answer from now on, in a thread."""
        threading.Thread(target=self.serve_forever, name="metrics", daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the library's signature
        """Whoever asked has gone away, or the page has a fault: neither concerns the worker's work."""
        log.warning("metrics_request_failed", exc_info=True)


def listen(host: str, port: int, pages: dict[str, Page]) -> HealthServer:
    """A server that listens. Raises SettingsError when it cannot."""
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
        """No line for each scrape."""

    def version_string(self) -> str:
        """No versions for passers-by."""
        return "case-worker"
