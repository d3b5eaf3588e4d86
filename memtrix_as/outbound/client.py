"""The guarded client: every connection, every redirect and every byte is checked on the way.

aiohttp asks no resolver about a host that is an address already, and a name may resolve
differently the next time. So the address is checked where the socket is made for it.
"""

import asyncio
import re
import socket
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from memtrix_as.errors import AddressRefused, BadStatus, TooLarge, TooSlow, Unreachable
from memtrix_as.outbound.policy import Walls

REDIRECTS = frozenset({301, 302, 303, 307, 308})
AGENT = "Mozilla/5.0 (compatible; Memtrix; +https://matrix.org)"
PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may take: seconds, bytes and redirects."""

    connect: float = 10
    idle: float = 20
    total: float = 60
    size: int = 5_000_000  # bytes as sent, and again bytes unpacked
    redirects: int = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer (HTTP 2xx) on its way; its body can be read once."""

    url: URL  # where it came from in the end
    content_type: str  # lower-case, without parameters; "" when it is not told, or none
    charset: str | None
    length: int | None  # as told, for a body that is not compressed
    disposition: str | None  # the file name that the server proposes, as sent
    limits: Limits = field(repr=False)
    _response: aiohttp.ClientResponse = field(repr=False)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The unpacked body; TooLarge as soon as there is more than the limit."""
        unpack = _Unpacker(self._response, self.limits.size)
        sent = 0
        async for piece in self._response.content.iter_chunked(PIECE):
            sent += len(piece)
            if sent > self.limits.size:
                raise _too_large(self.limits.size)
            for part in unpack(piece):
                yield part
        unpack.finish()

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self.pieces()])


class Outbound:
    """Makes requests within `walls`. Keeps no cookies, connections, proxies or credentials."""

    def __init__(
        self, walls: Walls, resolver: AbstractResolver | None = None, ssl: Any = True
    ) -> None:
        """`resolver` and `ssl` are for tests: other names, and a certificate of their own."""
        self._walls, self._resolver, self._ssl = walls, resolver, ssl

    async def check(self, url: str) -> None:
        """AddressRefused if there can be no request to this URL, whatever its host resolves to."""
        await asyncio.to_thread(self._walls.check_url, url)

    @asynccontextmanager
    async def request(
        self,
        url: str,
        limits: Limits = Limits(),
        *,
        accept: str = "*/*",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Answer]:
        """GET, or POST `body`; all that happens within is under the limits.

        Raises AddressRefused, Unreachable, BadStatus, TooSlow or TooLarge. A POST follows no
        redirect: what is sent was meant for one place.
        """
        sent = {"Accept": accept, "Accept-Encoding": "gzip", "User-Agent": AGENT, **(headers or {})}
        host = [*url.split("/"), "", "", ""][2][:100]
        try:
            async with asyncio.timeout(limits.total), self._session(limits, sent) as session:
                async with _following(self._walls, session, url, limits, body) as response:
                    yield _answer(response, limits)
        except TimeoutError as exc:
            raise TooSlow(
                f"{host} took too long: a request may take {limits.total:g} seconds. "
                "Try again later, or use another source."
            ) from exc
        except aiohttp.ClientError as exc:
            raise Unreachable(_why(host, exc)) from exc

    def _session(self, limits: Limits, headers: Mapping[str, str]) -> aiohttp.ClientSession:
        def make(info: Any) -> socket.socket:
            family, kind, proto, _, address = info
            self._walls.check_connection(address[0], address[1])
            return socket.socket(family, kind, proto)

        connector = aiohttp.TCPConnector(
            resolver=_Resolver(self._walls, self._resolver or aiohttp.ThreadedResolver()),
            socket_factory=make,
            use_dns_cache=False,
            force_close=True,
            ssl=self._ssl,
        )
        return aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            read_bufsize=PIECE,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=limits.connect, sock_read=limits.idle
            ),
        )


class _Resolver(AbstractResolver):
    """Refuses a name of which any address is refused: a mixed answer is an attempt."""

    def __init__(self, walls: Walls, inner: AbstractResolver) -> None:
        self._walls, self._inner = walls, inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for one in found:
            self._walls.check_connection(one["host"], port)
        return found

    async def close(self) -> None:
        await self._inner.close()


@asynccontextmanager
async def _following(
    walls: Walls, session: aiohttp.ClientSession, url: str, limits: Limits, body: bytes | None
) -> AsyncIterator[aiohttp.ClientResponse]:
    method = "GET" if body is None else "POST"
    for _ in range(limits.redirects + 1):
        at = await asyncio.to_thread(walls.check_url, url)
        async with session.request(
            method, at, data=body, allow_redirects=False, max_line_size=8190, max_field_size=8190
        ) as response:
            if response.status in REDIRECTS and body is None:
                url = _next(at, response)
                continue
            _check_status(at, response)
            yield response
            return
    raise Unreachable(f"{at.host} redirects more than {limits.redirects} times. Use another page.")


def _next(at: URL, response: aiohttp.ClientResponse) -> str:
    to = response.headers.get("Location", "")
    try:
        return str(at.join(URL(to))) if to else ""
    except ValueError as exc:
        raise AddressRefused(f"{at.host} redirects to something that is no URL.") from exc


def _check_status(at: URL, response: aiohttp.ClientResponse) -> None:
    status = response.status
    if 200 <= status < 300:
        return
    advice = {
        401: "It wants a login, which tools do not have.",
        403: "It does not serve programs like us. Use another source.",
        404: "There is no such page. Search for the right address.",
        429: "It had too many requests. Try again later.",
    }.get(status, "Try again later, or use another source." if status >= 500 else "")
    raise BadStatus(f"{at.host} answered with HTTP status {status}. {advice}".strip(), status)


def _answer(response: aiohttp.ClientResponse, limits: Limits) -> Answer:
    """Check what is told of the body before any of it is read."""
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise Unreachable(
            f"{response.url.host} packs its answer in a way that was not asked for. "
            "Use another source."
        )
    length = response.content_length
    if length is not None and length > limits.size:
        raise _too_large(limits.size)
    return Answer(
        url=response.url,
        content_type=_content_type(response.headers.get("Content-Type", "")),
        charset=response.charset,
        length=length if coding in ("identity", "") else None,
        disposition=response.headers.get("Content-Disposition"),
        limits=limits,
        _response=response,
    )


def _content_type(text: str) -> str:
    kind = text.split(";")[0].strip().lower()
    return kind if re.fullmatch(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60}", kind) else ""


class _Unpacker:
    """Undoes gzip and deflate piece by piece, and stops a bomb at the limit."""

    def __init__(self, response: aiohttp.ClientResponse, limit: int) -> None:
        coding = response.headers.get("Content-Encoding", "").strip().lower()
        self._packed = coding not in ("identity", "")
        self._host = response.url.host
        self._limit = limit
        self._out = 0
        self._zlib = zlib.decompressobj(wbits=47)  # tells gzip and zlib by their beginning
        self._begun = False

    def __call__(self, piece: bytes) -> list[bytes]:
        if not self._packed:
            return [piece]
        parts = []
        while piece:
            if self._zlib.eof:  # gzip files may be glued together
                self._zlib = zlib.decompressobj(wbits=47)
            try:
                part = self._zlib.decompress(piece, PIECE)
            except zlib.error as exc:
                raise Unreachable(f"{self._host} sent a body that cannot be unpacked.") from exc
            self._begun = True
            self._out += len(part)
            if self._out > self._limit:
                raise _too_large(self._limit)
            parts.append(part)
            piece = self._zlib.unconsumed_tail or self._zlib.unused_data
        return parts

    def finish(self) -> None:
        if self._begun and not self._zlib.eof:
            raise Unreachable(f"{self._host} broke off in the middle. Try again.")


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"That is larger than the {limit / 1e6:g} MB that may be taken in.")


def _why(host: str, exc: aiohttp.ClientError) -> str:
    """One sentence of ours; the error's own text could hold what the server said."""
    if isinstance(exc, aiohttp.ClientConnectorDNSError):
        return f"There is no host {host}. Check the spelling, or search for the right address."
    if isinstance(exc, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return f"{host} cannot show a valid certificate, so it was not used. Use another source."
    if isinstance(exc, aiohttp.ClientConnectorError):
        return f"{host} cannot be reached. Try again later, or use another source."
    if isinstance(exc, aiohttp.InvalidURL):
        return f"The URL of {host} cannot be used. Use a whole URL, https://example.org/page."
    return f"{host} broke off, or does not speak proper HTTP. Try again, or use another source."
