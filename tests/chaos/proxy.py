"""A relay between workers and their database that treats connections as bad networks do.

It runs in a thread of the tests. What it does to a connection is seen from both ends: nobody is told of
a frozen one, as when a cable is pulled; a cut one ends at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

CALL_SECONDS = 10
CHUNK = 65_536


class Relay:
    """One connection: bytes both ways, each way with its own hindrances."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.reader, self.writer = reader, writer
        self.may_pass = asyncio.Event()
        self.drops_answers = False
        self.to_server: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        if not self.proxy.frozen:
            self.may_pass.set()
        await self.may_pass.wait()
        reader, self.to_server = await asyncio.open_connection("127.0.0.1", self.proxy.server_port)
        await asyncio.gather(
            self.pass_on(self.reader, self.to_server, self.look_at_request),
            self.pass_on(reader, self.writer, self.look_at_answer),
        )

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, look: Any) -> None:
        while data := await reader.read(CHUNK):
            await asyncio.sleep(self.proxy.delay_seconds)
            await self.may_pass.wait()
            if look(data):
                # Also what comes to be frozen by the look at it.
                await self.may_pass.wait()
                writer.write(data)
                await writer.drain()
        self.cut()

    def look_at_request(self, data: bytes) -> bool:
        """Whether it goes on to the server."""
        if self.proxy.freeze_at and self.proxy.freeze_at in data:
            self.proxy.freeze_at = b""
            self.proxy.struck.set()
            self.may_pass.clear()
        if self.proxy.drop_answers_to and self.proxy.drop_answers_to in data and self.proxy.drops_left:
            self.proxy.drops_left -= 1
            self.drops_answers = True
        return True

    def look_at_answer(self, data: bytes) -> bool:
        """Whether it goes on to the client."""
        if self.drops_answers:
            # The server has done what it was asked to, or it would not have answered.
            self.cut()
            if not self.proxy.drops_left:
                self.proxy.struck.set()
        return not self.drops_answers

    def cut(self) -> None:
        for writer in (self.writer, self.to_server):
            if writer is not None and writer.transport is not None:
                writer.transport.abort()


class Proxy:
    """Listens on `port` and relays to `server_port` on this machine."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.port = 0
        self.delay_seconds = 0.0
        self.frozen = False
        # The first connection that sends these bytes is frozen before they reach the server.
        self.freeze_at = b""
        # A connection that sends these bytes ends when the server answers, so many times.
        self.drop_answers_to, self.drops_left = b"", 0
        # Whether one of the two has happened as often as it should.
        self.struck = threading.Event()
        self._relays: dict[Relay, asyncio.Task] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    # Called by tests, in their own thread

    def start(self) -> None:
        self._thread.start()
        self.port = self._call(self._listen())

    def stop(self) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()

    def cut(self) -> None:
        """End all connections."""
        self._call(self._for_each(Relay.cut))

    def freeze(self) -> None:
        """Let nothing through any more, of new connections neither: a partition."""
        self.frozen = True
        self._call(self._for_each(lambda relay: relay.may_pass.clear()))

    def freeze_present(self) -> None:
        """Let nothing through on what is connected now, for ever; new connections are well."""
        self._call(self._for_each(lambda relay: relay.may_pass.clear()))

    def thaw(self) -> None:
        """Let all through again, and deliver what was on its way, as TCP does."""
        self.frozen = False
        self._call(self._for_each(lambda relay: relay.may_pass.set()))

    def count_connections(self) -> int:
        return len(self._relays)

    def _call(self, coroutine: Coroutine) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(CALL_SECONDS)

    # In the thread of the proxy

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = Relay(self, reader, writer)
        task = self._relays[relay] = asyncio.ensure_future(relay.run())
        with suppress(OSError, asyncio.CancelledError):
            # A connection that fails is what this is about.
            await task
        relay.cut()
        del self._relays[relay]

    async def _for_each(self, act: Any) -> None:
        for relay in list(self._relays):
            act(relay)

    async def _end(self) -> None:
        self._server.close()
        tasks = list(self._relays.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # What waits for those tasks has its turn to tidy up.
        await asyncio.sleep(0)


@contextmanager
def relay_to(server_port: int) -> Iterator[Proxy]:
    proxy = Proxy(server_port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
