"""Pass-throughs on one port: stamp each HTTP request, or note what goes to PostgreSQL."""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
STARTUP = 196608  # protocol 3.0
SYNC, QUERY, PARSE, BIND = b"S", b"Q", b"P", b"B"


@dataclass(frozen=True, slots=True)
class Asked:
    """One HTTP request, on the monotonic clock: its last byte came, and it was handed on."""

    line: str  # method and path, unquoted, without the query
    body: bytes = field(repr=False)
    arrived: float
    handed_on: float


@dataclass(frozen=True, slots=True)
class Statement:
    """One round trip to PostgreSQL."""

    who: str  # "asyncpg" (our pool) or "psycopg" (procrastinate)
    sql: str
    connection: int
    at: float


class _Side(asyncio.Protocol):
    """One end of a connection; hands on what comes, which a subclass may look at."""

    def __init__(self) -> None:
        self.other: _Side | None = None
        self.transport: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        for data in self._early:
            transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.hand_on(data)

    def hand_on(self, data: bytes) -> None:
        assert self.other
        self.other.write(data)

    def write(self, data: bytes) -> None:
        if self.transport is None:
            self._early.append(data)
        else:
            self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other and self.other.transport:
            self.other.transport.close()


class _Http(_Side):
    """The client's side: whole requests, stamped."""

    def __init__(self, asked: list[Asked]) -> None:
        super().__init__()
        self._asked = asked
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self._buffer, 0, end + 2)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < size:
                return
            request, self._buffer = self._buffer[:size], self._buffer[size:]
            arrived = time.monotonic()
            self.hand_on(request)
            line = unquote(request[: request.find(b" HTTP/")].decode()).partition("?")[0]
            self._asked.append(Asked(line, request[end + 4 :], arrived, time.monotonic()))


class _Sql(_Side):
    """The client's side of PostgreSQL's protocol (its documentation, "Message Formats")."""

    _count = 0

    def __init__(self, statements: list[Statement]) -> None:
        super().__init__()
        _Sql._count += 1
        self._number = _Sql._count
        self._statements = statements
        self._buffer = b""
        self._started = False
        self._who = ""
        self._texts: dict[bytes, str] = {}
        self._last = ""

    def data_received(self, data: bytes) -> None:
        self.hand_on(data)
        self._buffer += data
        while len(self._buffer) >= 5:
            head = 1 if self._started else 0
            size = head + int.from_bytes(self._buffer[head : head + 4], "big")
            if len(self._buffer) < size:
                return
            message, self._buffer = self._buffer[:size], self._buffer[size:]
            if self._started:
                self._message(message[:1], message[5:])
            elif int.from_bytes(message[4:8], "big") == STARTUP:
                self._started = True
                # asyncpg alone names the encoding so.
                self._who = "asyncpg" if b"'utf-8'" in message else "psycopg"

    def _message(self, kind: bytes, body: bytes) -> None:
        if kind == PARSE:
            name, sql, *_ = body.split(b"\0", 2)
            self._last = self._texts[name] = " ".join(sql.decode(errors="replace").split())
        elif kind == BIND:
            self._last = self._texts.get(body.split(b"\0", 2)[1], "?")
        elif kind in (SYNC, QUERY):
            sql = " ".join(body[:-1].decode().split()) if kind == QUERY else self._last
            self._statements.append(Statement(self._who, sql, self._number, time.monotonic()))


class Relay:
    """Listens on `port`, passes all on to `target`."""

    def __init__(self, port: int, target: int, side: Callable[[], _Side]) -> None:
        self.port, self.target = port, target
        self._side = side
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[_Side] = set()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, "127.0.0.1", self.port, backlog=256)

    def _accept(self) -> _Side:
        near, far = self._side(), _Side()
        near.other, far.other = far, near
        task = asyncio.create_task(self._connect(near, far))
        self._tasks.add(task)
        self._open |= {near, far}
        task.add_done_callback(self._tasks.discard)
        return near

    async def _connect(self, near: _Side, far: _Side) -> None:
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: far, "127.0.0.1", self.target)
        except OSError:
            if near.transport:
                near.transport.abort()

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            for side in self._open:
                if side.transport:
                    side.transport.abort()
            await self._server.wait_closed()


def http_relay(port: int, target: int, asked: list[Asked]) -> Relay:
    return Relay(port, target, lambda: _Http(asked))


def sql_relay(port: int, target: int, statements: list[Statement]) -> Relay:
    return Relay(port, target, lambda: _Sql(statements))
