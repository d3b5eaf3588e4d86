"""What a model server sends, wrong in every way: an answer or one sentence, and bounded memory."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from memtrix_as.db.pool import to_json
from memtrix_as.errors import ModelError
from memtrix_as.messages import Message, Reply, ToolSpec
from memtrix_as.providers import wire
from memtrix_as.providers.answer import Answer
from memtrix_as.providers.arguments import read
from memtrix_as.providers.base import Request
from memtrix_as.providers.openai_compatible import OpenAICompatible
from tests.fuzz.junk import JSON, NUMBERS, TEXTS, nested, tries

TOOLS = [ToolSpec("get_time", "The time", {"type": "object", "properties": {}})]
ASKED = [Message("user", "hello")]
Sent = Callable[[], AsyncIterator[bytes]]


def chunk(delta: Any, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], **more}).encode() + b"\n\n"


def call(arguments: Any, name: str = "get_time") -> bytes:
    return chunk({"tool_calls": [{"id": "a", "function": {"name": name, "arguments": arguments}}]})


def with_field(field: str) -> bytes:
    return b'data: {"choices": [{"delta": {"content": "hi"}}], ' + field.encode() + b"}\n\n" + STOP


STOP = chunk({}, "stop")


@asynccontextmanager
async def provider(sent: Sent) -> AsyncGenerator[OpenAICompatible]:
    """The real provider, before a server that sends these bytes and hears of no end."""

    async def answer(http: web.Request) -> web.StreamResponse:
        await http.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(http)
        async for piece in sent():
            await response.write(piece)
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    provider = OpenAICompatible(f"http://127.0.0.1:{runner.addresses[0][1]}", "k-test")
    try:
        yield provider
    finally:
        await provider.close()
        await runner.cleanup()


async def outcome(provider: OpenAICompatible, timeout: float = 3.0) -> Message | ModelError:
    """The answer, which can be stored and sent again; or the sentence."""
    try:
        pieces = [p async for p in provider.stream(Request("m", ASKED, TOOLS, timeout=timeout))]
    except ModelError as exc:
        assert str(exc) and "\n" not in str(exc)
        return exc
    assert isinstance(pieces[-1], Reply)
    storable(pieces[-1].message)
    return pieces[-1].message


def storable(message: Message) -> None:
    for made in message.calls:
        assert json.loads(to_json(made.arguments)) == made.arguments
    for text in (message.text, message.reasoning, *(c.name for c in message.calls)):
        assert "\0" not in text
        text.encode()
    assert json.dumps(wire.messages([*ASKED, message]), allow_nan=False).encode()


def once(raw: bytes) -> Sent:
    async def sent() -> AsyncIterator[bytes]:
        yield raw

    return sent


def endless(unit: bytes) -> Sent:
    async def sent() -> AsyncIterator[bytes]:
        while True:
            yield unit

    return sent


ODD = {
    "a cost beyond floats": chunk({"content": "hi"}, "stop", usage={"cost": 10**400}),
    "a number of 5000 digits": with_field('"usage": {"cost": ' + "9" * 5000 + "}"),
    "a chunk nested deeply": with_field('"x": ' + nested(100_000)),
    "an error nested deeply": b"data: " + b'{"error":' * 900 + b"1" + b"}" * 900 + b"\n\n",
    "an error code of 5000 digits": b'data: {"error": {"code": "' + b"9" * 5000 + b'"}}\n\n',
    "an error code that is a list": b'data: {"error": {"code": ["a"]}}\n\n',
    "an error code beyond HTTP": b'data: {"error": {"code": 99999999999}}\n\n',
    "arguments nested deeply": call('{"a": ' + nested(5000) + "}") + STOP,
    "arguments as a mapping, deep": b'data: {"choices": [{"delta": {"tool_calls": [{"function": '
    b'{"name": "get_time", "arguments": {"a": ' + nested(900).encode() + b"}}}]}}]}\n\n" + STOP,
    "10 MB of arguments": call("x" * 100_000) * 100 + STOP,
    "5000 calls": call("{}") * 5000 + STOP,
    "a name of 10 MB": call("", "y" * 1000) * 10_000 + STOP,
    "spaces behind a fence": call("```" + " \n" * 300_000 + "x") + STOP,
    "not UTF-8": b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n' + STOP,
    "no SSE": b"foo\n\nbar: x\nid: \nretry: x\nevent: error\n\n" + STOP,
    "written calls, nested": chunk({"content": '<tool_call>{"name": "get_time", "arguments": '
    + nested(50_000) + "}</tool_call>"}) + STOP,
    "half written calls": chunk({"content": '<tool_call>{"name": "get_time"' * 50}) * 1000 + STOP,
    "thoughts that only begin": chunk({"content": "<think>" * 50}) * 1000 + STOP,
}  # fmt: skip


@pytest.mark.parametrize("raw", ODD.values(), ids=list(ODD))
async def test_an_odd_answer_ends_in_words(raw: bytes) -> None:
    async with asyncio.timeout(60), provider(once(raw)) as asked:
        await outcome(asked)


ENDLESS = {
    "a line": b"x" * 65536,
    "an event": b"data: " + b"x" * 65536 + b"\n",
    "comments": b": ping\n\n" * 1000,
    "text": chunk({"content": "word " * 5000}),
    "thoughts": chunk({"reasoning": "word " * 5000}),
    "empty chunks": chunk({}),
    "arguments": call("x" * 20_000),
    "names": call("", "ab" * 5000) + call("", "c"),
}


@pytest.mark.parametrize("unit", ENDLESS.values(), ids=list(ENDLESS))
async def test_an_answer_without_end_is_ended(unit: bytes) -> None:
    async with asyncio.timeout(60), provider(endless(unit)) as asked:
        tracemalloc.start()
        ended = await outcome(asked, timeout=2.0)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert isinstance(ended, ModelError)
    assert most < 300 << 20


async def test_a_piece_without_end_is_cut_before_it_fills_memory() -> None:
    sent = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 20
            yield b"data: " + b"x" * (1 << 20)

    async with provider(flood) as asked:
        ended = await outcome(asked, timeout=60.0)
    assert "nonsense" in str(ended)
    assert sent < 300 << 20  # four tries


async def test_a_connection_that_stays_open_after_the_end_costs_no_answer() -> None:
    async def sent() -> AsyncIterator[bytes]:
        yield chunk({"content": "hi"}) + STOP
        await asyncio.sleep(1000)

    async with provider(sent) as asked:
        ended = await outcome(asked, timeout=60.0)
    assert isinstance(ended, Message) and ended.text == "hi"


PIECES = st.fixed_dictionaries(
    {},
    optional={
        "index": NUMBERS | JSON,
        "id": TEXTS | JSON,
        "function": JSON
        | st.fixed_dictionaries(
            {},
            optional={
                "name": st.just("get_time") | TEXTS | JSON,
                "arguments": TEXTS | JSON | JSON.map(json.dumps) | st.just('{"a": NaN}'),
            },
        ),
    },
)
DELTAS = JSON | st.fixed_dictionaries(
    {},
    optional={
        "content": TEXTS | JSON | st.sampled_from(["<think>", "</think>", "<tool_call>", "{"]),
        "reasoning": TEXTS | JSON,
        "reasoning_details": JSON | st.lists(st.dictionaries(st.just("text"), TEXTS), max_size=2),
        "refusal": TEXTS | JSON,
        "tool_calls": JSON | st.lists(PIECES, max_size=3),
    },
)
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "delta": DELTAS,
        "message": DELTAS,
        "finish_reason": st.sampled_from(["stop", "length", "tool_calls", "odd", ""]) | JSON,
        "error": JSON,
    },
)
USAGE = st.dictionaries(
    st.sampled_from(["prompt_tokens", "completion_tokens", "cost"]), NUMBERS | JSON
)
CHUNKS = JSON | st.fixed_dictionaries(
    {},
    optional={
        "choices": JSON | st.lists(CHOICES, min_size=1, max_size=2),
        "usage": USAGE | JSON,
        "error": JSON,
    },
)


@tries(300)
@given(st.lists(CHUNKS, max_size=6))
def test_any_chunks_are_an_answer_or_a_sentence(chunks: list[Any]) -> None:
    answer = Answer(["get_time"])
    try:
        for each in chunks:
            answer.feed(each)
        answer.feed({"choices": [{"finish_reason": "stop"}]})
        _, reply = answer.finish()
    except ModelError:
        return
    storable(reply.message)


@tries(200)
@given(st.text(alphabet='{}[]"\\:,0 \ud800\0\nae`N', max_size=40) | JSON.map(json.dumps))
def test_any_arguments_are_read_or_refused(raw: str) -> None:
    arguments, problem = read(raw)
    assert not (arguments and problem)
    assert json.loads(to_json(arguments)) == arguments


@tries(40)
@given(st.lists(st.binary(max_size=30) | CHUNKS.map(lambda c: json.dumps(c).encode()), max_size=5))
def test_any_error_body_is_told_in_one_line(bodies: list[bytes]) -> None:
    async def told() -> None:
        raw = b"".join(b"data: " + body + b"\n\n" for body in bodies)
        async with provider(once(raw + STOP)) as asked:
            await outcome(asked, timeout=0.3)

    asyncio.run(told())
