"""A line that breaks: passes TCP on, slowly, not at all, or until it is cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Line:
    """From `port`, its own, to `target`. All that goes wrong with it, `heal` mends."""

    def __init__(self, target: int, port: int = 0) -> None:
        self.target, self.port = target, port
        self.tries = 0  # to connect
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self._lag = 0.0
        self._away = False

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            self.reset()
            await self._server.wait_closed()

    def reset(self) -> None:
        """Break all connections; new ones are made at once."""
        for writer in [*self._writers]:
            writer.transport.abort()

    def away(self) -> None:
        """Break all connections, and every new one."""
        self._away = True
        self.reset()

    def freeze(self) -> None:
        """Half open: connections stand, and nothing comes through."""
        self._flows.clear()

    def slow(self, seconds: float) -> None:
        """Each piece of data comes so much later."""
        self._lag = seconds

    def heal(self) -> None:
        """Whatever it was; what was frozen is lost with its connection."""
        if not self._flows.is_set():
            self.reset()
        self._flows.set()
        self._away, self._lag = False, 0.0

    async def _accept(self, near: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        self.tries += 1
        async with self._kept(out):
            if self._away:
                return
            try:
                far, back = await asyncio.open_connection("127.0.0.1", self.target)
            except OSError:
                return
            async with self._kept(back):
                ways = [asyncio.create_task(self._pass(near, back)),
                        asyncio.create_task(self._pass(far, out))]  # fmt: skip
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    @asynccontextmanager
    async def _kept(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        self._writers.add(writer)
        try:
            yield
        finally:
            self._writers.discard(writer)
            with suppress(OSError):
                writer.transport.abort() if self._away else writer.close()

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                if self._lag:
                    await asyncio.sleep(self._lag)
                await self._flows.wait()
                sink.write(data)
                await sink.drain()
