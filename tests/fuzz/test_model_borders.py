"""A model server that is slow, packs floods, or repeats itself: an answer or one sentence."""

import asyncio
import json
import re
import tracemalloc
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from memtrix_as.errors import ModelError
from memtrix_as.memory.embedder import RemoteEmbedder
from memtrix_as.messages import Message
from memtrix_as.providers import wire
from memtrix_as.providers.answer import Answer
from memtrix_as.providers.ollama import Ollama
from memtrix_as.providers.openai_compatible import OpenAICompatible
from tests.fuzz.test_model_output import STOP, chunk, outcome, provider

MIB = 1 << 20
FLOOD = 120  # MiB; unpacked at once they would show


def packed(first: bytes = b"") -> bytes:
    """A flood in gzip, of a thousandth of its size."""
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(first), *(packer.compress(b" " * MIB) for _ in range(FLOOD))]
    return b"".join([*parts, packer.flush()])


@asynccontextmanager
async def server(status: int, kind: str, coding: str, body: bytes) -> AsyncGenerator[str]:
    """The address of what answers everything with this."""

    async def answer(http: web.Request) -> web.Response:
        await http.read()
        headers = {"Content-Type": kind, "Content-Encoding": coding}
        return web.Response(body=body, status=status, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def refused(work: Callable[[], Awaitable[Any]]) -> str:
    """What is said, without the flood in memory."""
    tracemalloc.start()
    try:
        with pytest.raises(ModelError) as exc:
            async with asyncio.timeout(60):
                found = await work()
                if isinstance(found, ModelError):
                    raise found
        return str(exc.value)
    finally:
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 90 * MIB


@pytest.mark.parametrize(("status", "kind"), [(400, "text/event-stream")])
async def test_a_packed_flood_fills_no_memory(status: int, kind: str) -> None:
    async with server(status, kind, "gzip", packed(b"data: ")) as url:
        asked = OpenAICompatible(url)
        assert url in await refused(lambda: outcome(asked, timeout=5.0))
        await asked.close()


@pytest.mark.parametrize("coding", ["gzip, gzip"])
async def test_what_is_packed_in_another_way_is_told(coding: str) -> None:
    async with server(200, "text/event-stream", coding, b"x") as url:
        asked = OpenAICompatible(url)
        assert "nonsense" in await refused(lambda: outcome(asked, timeout=5.0))
        await asked.close()


async def test_a_list_of_models_fills_no_memory() -> None:
    async with server(200, "text/event-stream", "gzip", packed()) as url:
        asked = Ollama(url)
        await refused(asked.models)
        await asked.close()


@pytest.mark.parametrize("status", [200, 500])
async def test_embeddings_fill_no_memory(status: int) -> None:
    async with server(status, "application/json", "gzip", packed(b'{"data": ')) as url:
        asked = RemoteEmbedder("m", url)
        assert "longer than" in await refused(lambda: asked.embed_query("x"))
        await asked.close()


async def test_an_answer_in_gzip_is_read() -> None:
    body = zlib.compress(chunk({"content": "hi"}) + STOP, 9, 31)
    async with server(200, "text/event-stream", "gzip", body) as url:
        asked = OpenAICompatible(url)
        ended = await outcome(asked)
        await asked.close()
    assert isinstance(ended, Message) and ended.text == "hi"


async def test_byte_by_byte_is_an_answer_too() -> None:
    async def sent() -> AsyncIterator[bytes]:
        for n in chunk({"content": "h\u00e9"}) + STOP:
            yield bytes([n])
            await asyncio.sleep(0)

    async with provider(sent) as asked:
        ended = await outcome(asked, timeout=30.0)
    assert isinstance(ended, Message) and ended.text == "h\u00e9"


async def test_a_byte_now_and_then_is_ended_by_the_deadline() -> None:
    async def sent() -> AsyncIterator[bytes]:
        while True:
            yield b":"
            await asyncio.sleep(0.1)

    async with provider(sent) as asked, asyncio.timeout(30):
        assert "1 second" in str(await outcome(asked, timeout=1.0))


def call(id: Any, name: Any, arguments: str = "{}", index: int | None = None) -> dict[str, Any]:
    made = {"id": id, "function": {"name": name, "arguments": arguments}}
    return made if index is None else made | {"index": index}


CALLS: dict[str, list[dict[str, Any]]] = {
    "the same id twice": [call("a", "get_time", index=0), call("a", "get_time", index=1)],
    "no ids": [call(None, "get_time", index=0), call("", "get_time", index=1)],
    "ids that are none": [call(5, "get_time", index=0), call([], "get_time", index=1)],
    "an empty name": [call("a", "", index=0), call("b", "get_time", index=1)],
    "no name": [call("a", None, index=0), call("b", "get_time", index=1)],
    "a name of spaces": [call("a", " \n", index=0), call("b", "get_time", index=1)],
    "a name of odd signs": [call("a", "get time!\u00e9" * 30), call("b", "get_time")],
    "no index": [call("a", "get_time"), call("b", "get_time")],
    "an index far away": [call("a", "get_time", index=10**9), call("b", "get_time", index=-1)],
}


@pytest.mark.parametrize("calls", CALLS.values(), ids=list(CALLS))
@pytest.mark.parametrize("apart", [False, True])
def test_each_call_has_an_id_and_a_name_of_its_own(
    calls: list[dict[str, Any]], apart: bool
) -> None:
    answer = Answer(["get_time"])
    for some in [[c] for c in calls] if apart else [calls]:
        answer.feed({"choices": [{"delta": {"tool_calls": some}}]})
    answer.feed({"choices": [{"finish_reason": "tool_calls"}]})
    _, reply = answer.finish()
    made = reply.message.calls
    ids = [c.id for c in made]
    assert made and all(ids) and len(set(ids)) == len(ids), made
    assert any(c.name == "get_time" for c in made)
    (sent,) = wire.messages([reply.message])
    for sent_call in sent["tool_calls"]:  # other names a server takes for a fault of ours
        assert re.fullmatch("[A-Za-z0-9_-]{1,64}", sent_call["function"]["name"])


@pytest.mark.parametrize("first", ["stop", "length", "tool_calls", "content_filter", "odd"])
@pytest.mark.parametrize("second", ["stop", "length", "tool_calls", "content_filter", "odd"])
def test_two_ends_are_an_answer_or_a_sentence(first: str, second: str) -> None:
    answer = Answer(["get_time"])
    try:
        answer.feed({"choices": [{"delta": {"content": "hi"}, "finish_reason": first}]})
        answer.feed({"choices": [{"delta": {"content": " you"}, "finish_reason": second}]})
        _, reply = answer.finish()
    except ModelError as exc:
        assert str(exc)
        return
    assert reply.message.text.startswith("hi")
    json.dumps(reply.message.text)
