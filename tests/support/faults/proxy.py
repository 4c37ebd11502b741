"""A TCP proxy on loopback that can cut connections, freeze them half-open, lose replies and be slow."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

from local_servers import free_port


class Proxy:
    """Forwards to a port of this machine, in a thread with an event loop of its own."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None
        self._swallow_new = False
        self._refuse_new = False
        self.delay = 0.0
        """Seconds by which each piece is late, in both directions."""
        self.replies_to_lose = 0
        """So many of the next replies are lost, each with its connection: the request has been done by then."""
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        opening = asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._server = asyncio.run_coroutine_threadsafe(opening, self._loop).result(10)
        return self

    def __exit__(self, *_error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Reset all connections; new ones are let through."""
        self._call(self._abort_all)

    def refuse(self) -> None:
        """Reset all connections, and each new one at once, until `heal`."""
        self._refuse_new = True
        self.cut()

    def freeze(self, *, new_too: bool = False) -> None:
        """From now on the connections that stand swallow everything, in both directions, and nobody is told.

        With `new_too`, those that are made before `heal` do so too.
        """
        self._swallow_new = new_too

        def swallow() -> None:
            for pair in self._pairs:
                pair.swallows = True

        self._call(swallow)

    def heal(self) -> None:
        """Let new connections through. Frozen ones stay as they are until one side closes them."""
        self._swallow_new = self._refuse_new = False
        self.delay, self.replies_to_lose = 0.0, 0

    def lose_reply(self) -> bool:
        """Whether this reply is to be lost."""
        if self.replies_to_lose <= 0:
            return False
        self.replies_to_lose -= 1
        return True

    def _run(self) -> None:
        self._loop.run_forever()

    def _call(self, step: Callable[[], None]) -> None:
        done = threading.Event()

        def in_loop() -> None:
            step()
            done.set()

        self._loop.call_soon_threadsafe(in_loop)
        assert done.wait(10), "the proxy's loop is stuck"

    def _abort_all(self) -> None:
        for pair in list(self._pairs):
            pair.abort()

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._abort_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuse_new:
            writer.transport.abort()
            return
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(self, writer, upstream[1], swallows=self._swallow_new)
        self._pairs.add(pair)
        try:
            await asyncio.gather(pair.pump(reader, upstream[1]), pair.pump(upstream[0], writer, replies=True))
        except asyncio.CancelledError:
            pass  # the proxy is closing
        finally:
            pair.abort()
            self._pairs.discard(pair)


class _Pair:
    """One client's connection and ours to the target."""

    def __init__(
        self, proxy: Proxy, client: asyncio.StreamWriter, target: asyncio.StreamWriter, *, swallows: bool
    ) -> None:
        self._proxy = proxy
        self._both = (client, target)
        self.swallows = swallows
        for writer in self._both:
            found = writer.get_extra_info("socket")
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def abort(self) -> None:
        """Reset both sides."""
        for writer in self._both:
            with contextlib.suppress(RuntimeError):
                writer.transport.abort()

    async def pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, replies: bool = False) -> None:
        """Carry one direction until its end."""
        with contextlib.suppress(ConnectionError, OSError):
            while piece := await source.read(65_536):
                if self.swallows:
                    continue
                if replies and self._proxy.lose_reply():
                    break
                if self._proxy.delay:
                    await asyncio.sleep(self._proxy.delay)
                sink.write(piece)
                await sink.drain()
        self.abort()
