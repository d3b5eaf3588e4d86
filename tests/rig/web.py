"""A web server of the tests, on an address that only an injected policy can reach; and a trap."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from memtrix_as.outbound.client import Outbound
from memtrix_as.outbound.policy import Policy, Service

OPEN, CLOSED = "127.0.0.2", "127.0.0.1"


def anonymous(side: int) -> ssl.SSLContext:
    """TLS in which nobody shows who they are: so no key has to lie among the tests."""
    context = ssl.SSLContext(side)
    if side == ssl.PROTOCOL_TLS_CLIENT:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # the last that knows such ciphers
    context.set_ciphers("aNULL:@SECLEVEL=0")
    return context


Page = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Names(AbstractResolver):
    """Resolves as it is told; a list of lists is a name that answers differently each time."""

    def __init__(self, names: Mapping[str, Sequence[Any]]) -> None:
        self.names = names
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        found: Sequence[Any] = self.names.get(host, [])
        if found and isinstance(found[0], list):
            found = found[min(self.asked.count(host), len(found)) - 1]
        if not found:
            raise OSError(f"no such host: {host}")
        return [
            ResolveResult(
                hostname=host,
                host=one,
                port=port,
                family=socket.AF_INET6 if ":" in one else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for one in found
        ]

    async def close(self) -> None:
        pass


class Web:
    """Serves pages at OPEN; whoever reaches CLOSED at the same port is noted in `trapped`."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes | Page] = {}
        self.requests: list[bytes] = []
        self.trapped: list[bytes] = []
        self.names: dict[str, Sequence[Any]] = {"ok.test": [OPEN], "trap.test": [CLOSED]}
        self.port = 0

    async def start(self) -> None:
        while True:
            self._server = await asyncio.start_server(self._serve, OPEN, 0)
            self.port = self._server.sockets[0].getsockname()[1]
            try:
                self._trap = await asyncio.start_server(self._note, CLOSED, self.port)
                return
            except OSError:  # somebody else has this port at the other address
                self._server.close()

    async def stop(self) -> None:
        for server in (self._server, self._trap):
            server.close()

    async def trap_at(self, address: str) -> asyncio.Server:
        """One more trap at the same port."""
        return await asyncio.start_server(self._note, address, self.port)

    def url(self, path: str, host: str = "ok.test") -> str:
        return f"http://{host}:{self.port}{path}"

    def policy(self, services: tuple[Service, ...] = ()) -> Policy:
        """The real policy, which for once takes this machine's second address for a stranger."""
        return Policy((ipaddress.ip_network(OPEN),), services, source=lambda _: None)

    def outbound(self) -> Outbound:
        return Outbound(self.policy(), Names(self.names), ssl=anonymous(ssl.PROTOCOL_TLS_CLIENT))

    def page(
        self, path: str, body: bytes = b"", kind: str = "text/plain", *more: str, status: int = 200
    ) -> None:
        """An answer as it should be; `more` are further lines of its head."""
        head = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
        self.pages[path] = "\r\n".join([*head, *more, "", ""]).encode() + body

    def redirect(self, path: str, to: str) -> None:
        self.page(path, b"", "text/plain", f"Location: {to}", status=302)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head)
            path = head.split()[1].decode().split("?")[0]
            page = self.pages.get(path, b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")
            if isinstance(page, bytes):
                writer.write(page)
                await writer.drain()
            else:
                await page(head, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has seen enough
        finally:
            writer.close()

    async def _note(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.trapped.append(await reader.read(100))
        writer.close()
