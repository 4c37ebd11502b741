"""A receiver of alerts: a real HTTP server that records requests and answers as configured."""

from __future__ import annotations

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any, Self


class AlertReceiver:
    """An alert receiver. Its `url` has a secret path that must not appear in logs."""

    SECRET_PATH = "/hook/s3cret-path"

    def __init__(self) -> None:
        self.answers: deque[int] = deque()
        """Statuses of the next answers; 200 once there are no more."""
        self.bodies: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self.headers: list[dict[str, str]] = []
        self.raw: list[bytes] = []
        self.paths: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver.take(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}{self.SECRET_PATH}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        """Remember one request, and answer it."""
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.headers.append({name.lower(): value for name, value in handler.headers.items()})
        self.raw.append(body)
        self.paths.append(handler.path)
        handler.send_response(self.answers.popleft() if self.answers else 200)
        handler.send_header("Content-Length", "5")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(b"noted")
        self.bodies.put(json.loads(body))

    def next(self, within: float = 30) -> dict[str, Any]:
        """The next alert that comes. Raises queue.Empty if none does."""
        return self.bodies.get(timeout=within)
