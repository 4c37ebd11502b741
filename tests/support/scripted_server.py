"""A small TCP server that answers by a script, for answers that no well-behaved server gives."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

#: What to do with a request; answers whether the connection stays open.
Action = Callable[[socket.socket], bool]


def answer(status: int = 200, body: bytes = b"{}", *headers: str, length: int | None = None) -> Action:
    """A whole answer. `length` announces another length than the body has."""
    lines = [f"HTTP/1.1 {status} Any", f"Content-Length: {len(body) if length is None else length}", *headers]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    stays_open = length is None or length == len(body)
    return raw(head + body, stays_open=stays_open and "Connection: close" not in headers)


def raw(data: bytes, *, stays_open: bool = False) -> Action:
    """These bytes and nothing else; then the connection is closed, unless it stays open."""

    def act(connection: socket.socket) -> bool:
        connection.sendall(data)
        return stays_open

    return act


def reset(connection: socket.socket) -> bool:
    """No answer: the connection is reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def silence(connection: socket.socket) -> bool:
    """No answer; the connection stays open until the client closes it."""
    while connection.recv(65_536):
        pass
    return False


def drip(head: bytes, piece: bytes, pause: float) -> Action:
    """The head, then pieces until the client closes the connection."""

    def act(connection: socket.socket) -> bool:
        connection.sendall(head)
        connection.settimeout(pause)
        while True:
            connection.sendall(piece)
            with contextlib.suppress(TimeoutError):
                if not connection.recv(1):
                    return False

    return act


class ScriptedServer:
    """Answer requests with the script's actions; the last action repeats."""

    def __init__(self, *script: Action) -> None:
        self._script = list(script) or [answer()]
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._guard = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.connections = 0
        self.requests: list[bytes] = []
        """Each request as it came: head and body."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def head(self, number: int = -1) -> dict[str, str]:
        """The headers of a request, by lower-case name."""
        lines = self.requests[number].partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    def line(self, number: int = -1) -> str:
        """The request line."""
        return self.requests[number].partition(b"\r\n")[0].decode("latin-1")

    def body(self, number: int = -1) -> bytes:
        """The body of a request."""
        return self.requests[number].partition(b"\r\n\r\n")[2]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._guard:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                with self._guard:
                    self.connections += 1
                    self._open.add(connection)
                    self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while request := _read_request(connection):
                with self._guard:
                    self.requests.append(request)
                    action = self._script.pop(0) if len(self._script) > 1 else self._script[0]
                if not action(connection):
                    break
        with self._guard:
            self._open.discard(connection)


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body
