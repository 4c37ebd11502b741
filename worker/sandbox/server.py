"""Run the sandbox: in the foreground as a command, or in a thread for tests."""

from __future__ import annotations

import asyncio
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import click

from worker.sandbox.apis import Sandbox
from worker.sandbox.http import Connection
from worker.sandbox.state import DEFAULT_API_KEY, Settings

BACKLOG = 1024


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A uvloop event loop if uvloop is installed (a development dependency), else asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    api_key: str = DEFAULT_API_KEY,
    token_seconds: float = 1800,
    rate_limits: str = "",
    latency_ms: float = 0,
) -> None:
    """Serve until SIGTERM or SIGINT. Prints one line with the address once it is ready; port 0 picks a free port.

    `token_seconds` is the lifetime of a token, `rate_limits` looks like `2000/minute;20000/hour` (empty: none),
    `latency_ms` delays every response of the APIs. Raises ValueError for bad limits, OSError when the port is taken.
    """
    settings = Settings(api_key, token_seconds, rate_limits, latency_ms)
    loop = new_event_loop()
    try:
        listener = _Listener(Sandbox(settings), loop)
        address = loop.run_until_complete(listener.open(host, port))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, loop.stop)
        click.echo(f"sandbox listening on {address}")
        loop.run_forever()
        loop.run_until_complete(listener.close())
    finally:
        loop.close()


class SandboxServer:
    """The sandbox in a thread with its own event loop, for tests in the same process.

    >>> with SandboxServer(Settings(token_seconds=60)) as server:
    ...     server.url
    'http://127.0.0.1:...'
    """

    def __init__(self, settings: Settings | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.sandbox = Sandbox(settings or Settings())
        self.url = ""
        self._host = host
        self._port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> str:
        """Start serving; returns the base URL of both APIs. Raises OSError when the port is taken."""
        loop = new_event_loop()
        listener = _Listener(self.sandbox, loop)
        # Opened in a separate thread, because the caller's thread may already be running an event loop.
        with ThreadPoolExecutor(1) as opener:
            try:
                self.url = opener.submit(_open, loop, listener, self._host, self._port).result()
            except BaseException:
                loop.close()
                raise
        self._loop = loop
        self._thread = threading.Thread(target=self._serve, args=(loop, listener), name="sandbox", daemon=True)
        self._thread.start()
        return self.url

    def stop(self) -> None:
        """Stop serving and close open connections. Safe to call twice."""
        if self._loop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop = self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.stop()

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop, listener: _Listener) -> None:
        try:
            loop.run_forever()
            loop.run_until_complete(listener.close())
        finally:
            loop.close()


def _open(loop: asyncio.AbstractEventLoop, listener: _Listener, host: str, port: int) -> str:
    return loop.run_until_complete(listener.open(host, port))


class _Listener:
    """The listening socket and its open connections."""

    def __init__(self, sandbox: Sandbox, loop: asyncio.AbstractEventLoop) -> None:
        self._sandbox = sandbox
        self._loop = loop
        self._connections: set[Connection] = set()
        self._server: asyncio.Server

    async def open(self, host: str, port: int) -> str:
        """Listen; returns the base URL."""
        self._server = await self._loop.create_server(
            lambda: Connection(self._sandbox.handle, self._connections), host, port, backlog=BACKLOG
        )
        bound_host, bound_port = self._server.sockets[0].getsockname()[:2]
        return f"http://[{bound_host}]:{bound_port}" if ":" in bound_host else f"http://{bound_host}:{bound_port}"

    async def close(self) -> None:
        """Stop listening and abort open connections, without waiting for them."""
        self._server.close()
        for connection in list(self._connections):
            connection.transport.abort()
        while self._connections:
            await asyncio.sleep(0)
        await self._server.wait_closed()
