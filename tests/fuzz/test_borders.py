"""Connections that are slow, broken or endless at the port of the homeserver: nobody waits."""

import asyncio
import json
import tracemalloc
import zlib

import pytest

from memtrix_as.testing import ScriptedModel
from tests.chat.conftest import *  # noqa: F403
from tests.chat.test_port import message
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Service

SMALL = b'{"events": []}'


def head(service: Service, *more: str, txn: str = "raw") -> bytes:
    token = service.door.registration["hs_token"]
    lines = [
        f"PUT /_matrix/app/v1/transactions/{txn} HTTP/1.1", "Host: x",
        f"Authorization: Bearer {token}", "Content-Type: application/json", *more,
    ]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode()


async def raw(service: Service, *pieces: bytes, wait: float = 10.0) -> bytes:
    """What comes back when these bytes are sent, whatever they are."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    try:
        async with asyncio.timeout(wait):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await reader.read(1 << 16)
    except (ConnectionError, TimeoutError):
        return b""
    finally:
        writer.transport.abort()


def chunks(body: bytes, size: int) -> bytes:
    parts = [body[n : n + size] for n in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"


CHUNKED = "Transfer-Encoding: chunked"


@only("direct")
@pytest.mark.parametrize("size", [1, 1000])
async def test_a_chunked_body_is_taken(service: Service, size: int) -> None:
    body = chunks(SMALL + b" " * 2000, size)
    assert b" 200 " in await raw(service, head(service, CHUNKED), body)


ODD = {
    "no length": (CHUNKED, b"zz\r\n{}\r\n0\r\n\r\n"),
    "a negative length": (CHUNKED, b"-5\r\n{}\r\n0\r\n\r\n"),
    "a huge length": (CHUNKED, b"f" * 40 + b"\r\n{}\r\n0\r\n\r\n"),
    "a wrong length": (CHUNKED, b'1\r\n{"events": []}\r\n0\r\n\r\n'),
    "a line without end": (CHUNKED, b"1" * 100_000),
    "trailers without end": (CHUNKED, b"0\r\n" + b"X: y\r\n" * 20_000),
    "both lengths": ("Content-Length: 3\r\n" + CHUNKED, chunks(SMALL, 5)),
    "no number": ("Content-Length: many", SMALL),
    "two numbers": ("Content-Length: 14\r\nContent-Length: 15", SMALL),
    "a header without end": ("X: " + "y" * 100_000, SMALL),
    "a thousand headers": ("\r\n".join(f"X{n}: y" for n in range(40_000)), SMALL),
    "bytes in a header": ("X: \0\x01\xff", SMALL),
}


@only("direct")
@pytest.mark.parametrize(("lines", "body"), ODD.values(), ids=list(ODD))
async def test_an_odd_body_is_refused_and_the_next_is_taken(
    service: Service, lines: str, body: bytes
) -> None:
    got = await raw(service, head(service, lines), body, wait=2.0)
    assert b" 200 " not in got
    assert b" 500 " not in got
    assert (await service.put("after", {"events": []}))[0] == 200


@only("direct")
async def test_a_body_without_end_is_cut_off(service: Service) -> None:
    piece = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    tracemalloc.start()
    got = await raw(service, head(service, CHUNKED), *[piece] * 200, wait=20.0)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert got == b"" or b" 413 " in got
    assert most < 250 << 20
    assert (await service.put("after", {"events": []}))[0] == 200


@only("direct")
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_packed_flood_is_not_unpacked(service: Service, coding: str) -> None:
    packer = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
    parts = [packer.compress(b" " * (1 << 20)) for _ in range(300)]
    body = b"".join([*parts, packer.flush()])
    tracemalloc.start()
    got = await raw(
        service, head(service, f"Content-Encoding: {coding}", f"Content-Length: {len(body)}"), body,
        wait=20.0,
    )  # fmt: skip
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert b" 400 " in got and b"M_NOT_JSON" in got
    assert most < 20 << 20
    assert (await service.put("after", {"events": []}))[0] == 200


@only("direct")
async def test_many_slow_connections_hold_nobody_up(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    model.by_default("an answer")
    writers = []
    for n in range(300):
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        if n % 3:
            writer.write(head(service, "Content-Length: 100")[: 20 * (n % 3)])
        writers.append(writer)
    assert (await service.put("mid", {"events": [message(chat, "$mid", "mid")]}))[0] == 200
    assert await chat.reply() == "an answer"
    for writer in writers:
        writer.transport.abort()


@only("direct")
async def test_one_transaction_at_once_in_other_contents(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    model.by_default("an answer")
    events = [message(chat, f"$e{n}", f"number {n}") for n in range(12)]
    sets = [events[n : n + 4] for n in range(0, 12, 2)]
    answers = await asyncio.gather(
        *(service.put("same", json.dumps({"events": s}).encode()) for s in sets * 3)
    )
    assert {status for status, _ in answers} == {200}
    await chat.until(
        lambda: "number 11" in "".join(r.last_user for r in model.requests) or None, "all"
    )
    said = "\n".join(r.last_user for r in model.requests)
    assert [said.splitlines().count(f"number {n}") for n in range(12)] == [1] * 12
