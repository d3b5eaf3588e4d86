"""The way out to a model server: its connections, and the headers that may pass."""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import httpx2
import openai

CONNECT = 5.0  # seconds
_TURN = 1 << 16  # bytes
LONGEST_PIECE = 32 << 20  # bytes of one event of a stream, or of an answer in one piece

# Whatever else the SDK sends tells of this machine (X-Stainless-OS, …) or comes from variables
# of the environment that were meant for another program (OPENAI_ORG_ID, OPENAI_CUSTOM_HEADERS).
_HEADERS = {
    *("host", "accept", "accept-encoding", "connection", "user-agent", "authorization"),
    *("content-type", "content-length", "transfer-encoding"),
}


def client(proxy: str, with_key: bool) -> httpx2.AsyncClient:
    """A client without limits of its own: whoever asks has a deadline.

    A proxy in the environment would read every conversation without anybody having said so here
    (`trust_env`); whoever needs one names it in the configuration.
    """
    return httpx2.AsyncClient(
        trust_env=False,
        transport=_Spread(proxy or None),
        timeout=httpx2.Timeout(None, connect=CONNECT),
        event_hooks={"request": [_anonymous if with_key else _anonymous_without_key]},
    )


async def bounded(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """The same bytes; ValueError where an event has no end, which fills memory."""
    length = total = 0
    async for chunk in body:
        total += len(chunk)
        if total > _TURN:  # so that one flood does not keep the others waiting
            total = 0
            await asyncio.sleep(0)
        ends = max(chunk.rfind(end) for end in (b"\n\n", b"\n\r\n", b"\r\r"))
        length = len(chunk) - ends if ends >= 0 else length + len(chunk)
        if length > LONGEST_PIECE:
            raise ValueError(f"one piece of an answer is longer than {LONGEST_PIECE} bytes")
        yield chunk


class Stream(openai.AsyncStream[object]):
    """The SDK's, which reads each event to its end, however far away that is."""

    async def _iter_events(self) -> AsyncIterator[Any]:
        response, read = self.response, self.response.aiter_bytes
        response.aiter_bytes = lambda *size: bounded(read(*size))  # type: ignore[method-assign]
        try:
            async for event in super()._iter_events():
                yield event
        finally:  # or it would hold itself, and with it the whole question, until it is collected
            del response.aiter_bytes


class _Spread(httpx2.AsyncBaseTransport):
    """Several pools, since one looks at all its connections for each request and each end of one:
    with 500 requests at once each takes 4 ms of CPU in place of 6.6. A task keeps to one pool,
    so that the rounds of a turn use the same connection; their number is prime, since the
    hashes of tasks are their evenly spaced addresses."""

    def __init__(self, proxy: str | None, pools: int = 7) -> None:
        limits = httpx2.Limits(
            max_connections=None,
            max_keepalive_connections=4,
            keepalive_expiry=300.0,  # a new connection costs two round trips, and TLS
        )
        context = httpx2.create_ssl_context(trust_env=False)  # reading the authorities takes long
        self._pools = [
            httpx2.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits, proxy=proxy)
            for _ in range(pools)
        ]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        pool = self._pools[hash(asyncio.current_task()) % len(self._pools)]
        response = await pool.handle_async_request(request)
        coding = response.headers.pop("Content-Encoding", "").strip().lower()
        # All else is read whole, whatever it calls itself; the events of an answer are not.
        streamed = (
            request.url.path.endswith("/chat/completions")
            and response.is_success
            and response.headers.get("Content-Type", "").startswith("text/event-stream")
        )
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Unpacked(response.stream, coding, None if streamed else LONGEST_PIECE)
        return response

    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.aclose()


class _Unpacked(httpx2.AsyncByteStream):
    """A body with its gzip undone, never much of it at once: httpx makes 64 MB of 64 kB.

    ValueError where there are more than `most` bytes, or they are packed in another way.
    """

    def __init__(self, inner: httpx2.AsyncByteStream, coding: str, most: int | None) -> None:
        if coding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise ValueError("packed in a way that was not asked for")
        self._inner, self._most = inner, most
        self._unpacker = zlib.decompressobj(wbits=47) if coding not in ("", "identity") else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        async for packed in self._inner:
            for chunk in self._plain(packed):
                total += len(chunk)
                if self._most is not None and total > self._most:
                    raise ValueError(f"an answer is longer than {self._most} bytes")
                yield chunk

    def _plain(self, packed: bytes) -> Iterator[bytes]:
        if self._unpacker is None:
            yield packed
            return
        while packed and not self._unpacker.eof:
            try:
                yield self._unpacker.decompress(packed, _TURN)
            except zlib.error as exc:
                raise ValueError("an answer cannot be unpacked") from exc
            packed = self._unpacker.unconsumed_tail

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _anonymous(request: httpx2.Request) -> None:
    for name in [name for name in request.headers if name.lower() not in _HEADERS]:
        del request.headers[name]
    request.headers["User-Agent"] = "memtrix"
    request.headers["Accept-Encoding"] = "gzip"


async def _anonymous_without_key(request: httpx2.Request) -> None:
    await _anonymous(request)
    request.headers.pop("Authorization", None)
