"""What servers really send, and what becomes of it: one scripted stream per trap."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from memtrix_as.errors import ModelBroken, ModelEmpty, ModelError, ModelRefused
from memtrix_as.messages import Delta, Message, Reply, ToolCall, ToolSpec
from memtrix_as.providers.base import Request
from memtrix_as.providers.openai_compatible import OpenAICompatible
from memtrix_as.testing import Reply as Scripted
from memtrix_as.testing import ScriptedModel

TOOLS = [ToolSpec("get_time", "The time", {"type": "object", "properties": {}})]
HELLO = [Message("user", "hello")]


@pytest.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    async with ScriptedModel() as scripted:
        yield scripted


@pytest.fixture
async def provider(model: ScriptedModel) -> AsyncIterator[OpenAICompatible]:
    provider = OpenAICompatible(model.url, "k-test")
    yield provider
    await provider.close()


async def ask(
    provider: OpenAICompatible, tools: Sequence[ToolSpec] = (), **more: Any
) -> tuple[list[Delta], Reply]:
    messages = more.pop("messages", HELLO)
    pieces = [piece async for piece in provider.stream(Request("m", messages, tools, **more))]
    deltas = [piece for piece in pieces if isinstance(piece, Delta)]
    [reply] = [piece for piece in pieces if isinstance(piece, Reply)]
    assert pieces[-1] is reply, "the reply comes last, and once"
    return deltas, reply


async def failing(
    provider: OpenAICompatible, tools: Sequence[ToolSpec] = ()
) -> tuple[list[Delta], ModelError]:
    deltas = []
    with pytest.raises(ModelError) as caught:
        async for piece in provider.stream(Request("m", HELLO, tools)):
            assert isinstance(piece, Delta)
            deltas.append(piece)
    return deltas, caught.value


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> str:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return f"data: {json.dumps({'choices': [choice], **more})}\n"


def call(arguments: Any, name: str | None = None, **more: Any) -> str:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return chunk({"tool_calls": [{"function": function, **more}]})


STOP = chunk(finish="stop")


async def test_text_streams_and_is_joined(model: ScriptedModel, provider: OpenAICompatible) -> None:
    model.says("Hello there.", chunks=3)
    deltas, reply = await ask(provider)
    assert [d.text for d in deltas] == ["Hell", "o th", "ere."]
    assert reply.message == Message("assistant", "Hello there.")
    assert reply.usage.prompt_tokens > 0 and reply.usage.cost is None


async def test_the_first_piece_comes_before_the_last_is_made(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    model.says(["One", " two"], hold=True)
    stream = provider.stream(Request("m", HELLO))
    assert await anext(stream) == Delta("One")
    assert await anext(stream) == Delta(" two")
    model.release()
    assert isinstance(await anext(stream), Reply)


async def test_what_goes_over_the_wire(model: ScriptedModel, provider: OpenAICompatible) -> None:
    history = [
        Message("system", "Be brief."),
        Message("user", "time?"),
        Message(
            "assistant",
            reasoning="a secret thought",
            calls=(ToolCall("1", "get_time", {"zone": "é"}), ToolCall("2", "x", {}, "not JSON")),
        ),
        Message("tool", "noon", call_id="1"),
        Message("tool", "it was not run", call_id="2", failed=True),
        Message("assistant", "Noon.", reasoning="easy"),
        Message("user", "thanks"),
    ]
    await ask(provider, TOOLS, messages=history, max_tokens=9, temperature=0.0, think=True)
    request = model.requests[0]
    body = dict(request.body)
    function = {
        "name": "get_time",
        "description": "The time",
        "parameters": {"type": "object", "properties": {}},
    }
    assert body.pop("tools") == [{"type": "function", "function": function}]
    sent = body.pop("messages")
    assert body == {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.0,
        "max_tokens": 9,
    }
    assert sent[2]["content"] is None
    arguments = [call["function"]["arguments"] for call in sent[2]["tool_calls"]]
    assert list(map(json.loads, arguments)) == [{"zone": "é"}, {}]
    assert sent[4] == {"role": "tool", "tool_call_id": "2", "content": "it was not run"}
    assert sent[5] == {"role": "assistant", "content": "Noon."}
    assert "secret thought" not in json.dumps(sent)
    assert request.headers["Authorization"] == "Bearer k-test"


async def test_nothing_of_this_machine_is_told(
    model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "other")
    monkeypatch.setenv("OPENAI_ORG_ID", "org")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Spy: yes")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    provider = OpenAICompatible(f"{model.url}/v1/")
    await ask(provider)
    assert await provider.models() == ["scripted"]
    await provider.close()
    headers = {name.lower(): value for name, value in model.requests[0].headers.items()}
    assert headers["user-agent"] == "memtrix"
    known = ("host", "accept", "accept-encoding", "connection", "content-type", "content-length")
    assert set(headers) <= {*known, "user-agent"}


async def test_calls_are_put_together(model: ScriptedModel, provider: OpenAICompatible) -> None:
    model.sends_raw(
        [
            chunk({"content": "Let me see."}),
            call("", "get_time", index=0, id="a"),
            call('{"x"', index=0),
            call("{}", "get_time", index=1, id="b"),
            call(": 1}", index=0),
            chunk(finish="tool_calls"),
        ]
    )
    _, reply = await ask(provider, TOOLS)
    assert reply.message.text == "Let me see."
    expected = (ToolCall("a", "get_time", {"x": 1}), ToolCall("b", "get_time"))
    assert reply.message.calls == expected


@pytest.mark.parametrize(
    "lines",
    [
        # no index: by id, or in order
        [call('{"n":', "f", id="a"), call(" 1}"), call('{"n": 2}', "f", id="b")],
        [call('{"n":', "f", id="a"), call(" 1}", id="a"), call('{"n": 2}', "f", id="b")],
        [call('{"n": 1}', "f", index=None), call('{"n": 2}', "f", index=None)],
        # the same index for all
        [call('{"n": 1}', "f", index=0, id="a"), call('{"n": 2}', "f", index=0, id="b")],
        # no or double ids; the name again with each piece; an object in place of a string
        [call('{"n": 1}', "f", index=0, id="a"), call('{"n": 2}', "f", index=1, id="a")],
        [call('{"n":', "f", index=0), call("1}", "f", index=0), call({"n": 2}, "f", index=1)],
    ],
)
async def test_calls_of_sloppy_servers(
    model: ScriptedModel, provider: OpenAICompatible, lines: list[str]
) -> None:
    model.sends_raw([*lines, STOP])
    _, reply = await ask(provider)
    calls = reply.message.calls
    assert [(c.name, c.arguments) for c in calls] == [("f", {"n": 1}), ("f", {"n": 2})]
    assert len({c.id for c in calls}) == 2 and all(c.id for c in calls)


async def test_ids_are_new_in_the_whole_history(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    model.calls("get_time")
    _, first = await ask(provider, TOOLS)
    model.calls("get_time")
    result = Message("tool", "noon", call_id=first.message.calls[0].id)
    _, second = await ask(provider, TOOLS, messages=[*HELLO, first.message, result])
    assert first.message.calls[0].id != second.message.calls[0].id


@pytest.mark.parametrize("odd", ["call\0", "x" * 5_000, "two words", "\ud800", "日"])
async def test_an_id_that_nothing_can_keep_is_replaced(
    model: ScriptedModel, provider: OpenAICompatible, odd: str
) -> None:
    model.sends_raw([call("{}", "get_time", index=0, id=odd), STOP])
    _, reply = await ask(provider, TOOLS)
    assert len(reply.message.calls[0].id) == 9 and reply.message.calls[0].name == "get_time"


@pytest.mark.parametrize(
    ("raw", "finish", "words"),
    [
        ('{"x": ', "tool_calls", "not valid JSON"),
        ("[1]", "tool_calls", "not a list"),
        ('{"x": "abc', "length", "length limit"),
        ("", "length", "length limit"),
        ('{"x": "' + "y" * (1 << 20) + '"}', "tool_calls", "longer than"),
    ],
    ids=["broken", "list", "cut", "cut early", "huge"],
)
async def test_arguments_that_cannot_be_read_are_a_problem_of_the_call(
    model: ScriptedModel, provider: OpenAICompatible, raw: str, finish: str, words: str
) -> None:
    model.calls("get_time", arguments=raw, finish=finish)
    _, reply = await ask(provider, TOOLS)
    [found] = reply.message.calls
    assert found.arguments == {} and words in str(found.problem)


async def test_a_name_is_forgiven_its_spelling(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    model.calls("functions.Get-Time", "open_door")
    _, reply = await ask(provider, TOOLS)
    assert [call.name for call in reply.message.calls] == ["get_time", "open_door"]


@pytest.mark.parametrize(
    "lines",
    [
        [chunk({"reasoning": "hm"}), chunk({"content": "Hi"})],
        [chunk({"reasoning_content": "hm"}), chunk({"content": "Hi"})],
        [chunk({"reasoning": "hm", "reasoning_content": "hm", "content": "Hi"})],
        [chunk({"reasoning": "", "reasoning_details": [{"text": "hm"}]}), chunk({"content": "Hi"})],
        [chunk({"content": "<thi"}), chunk({"content": "nk>hm</think>\n\nHi"})],
        [chunk({"content": [{"type": "thinking", "thinking": [{"text": "hm"}]}]}),
         chunk({"content": [{"type": "text", "text": "Hi"}]})],
        [chunk({"content": "hm"}), chunk({"content": "\n</think>\n\nHi"})],
    ],
)  # fmt: skip
async def test_reasoning_is_kept_apart(
    model: ScriptedModel, provider: OpenAICompatible, lines: list[str]
) -> None:
    model.sends_raw([*lines, STOP])
    deltas, reply = await ask(provider)
    assert (reply.message.text, reply.message.reasoning) == ("Hi", "hm")
    assert "".join(delta.text for delta in deltas).endswith("Hi")


async def test_a_written_call_is_never_shown(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    text = '```json\n{"name": "get-time", "arguments": {}}\n```'
    model.says(list(text))
    deltas, reply = await ask(provider, TOOLS)
    assert deltas == [] and reply.message.text == ""
    assert [call.name for call in reply.message.calls] == ["get_time"]
    model.says(list(text + "\nis how it looks."))
    deltas, reply = await ask(provider, TOOLS)
    assert "".join(d.text for d in deltas) == reply.message.text == text + "\nis how it looks."
    model.says(text)
    _, reply = await ask(provider)
    assert reply.message.text == text, "no tools were offered"


async def test_a_call_after_a_thought_that_began_in_the_template(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    model.says(["I look.\n", "</think>\n", '{"name": "get_time", ', '"arguments": {}}'])
    _, reply = await ask(provider, TOOLS)
    assert (reply.message.text, reply.message.reasoning) == ("", "I look.")
    assert [call.name for call in reply.message.calls] == ["get_time"]


@pytest.mark.parametrize("choices", [[], None])
async def test_usage_comes_without_choices(
    model: ScriptedModel, provider: OpenAICompatible, choices: Any
) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "cost": 0.5, "details": None}
    last = f"data: {json.dumps({'choices': choices, 'usage': usage})}\n"
    model.sends_raw([": a comment", chunk({"content": "Hi"}), STOP, last, "data: [DONE]\n"])
    _, reply = await ask(provider)
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3, 4)
    assert reply.usage.cost == 0.5


async def test_halves_of_a_character_are_joined(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    model.sends_raw(
        [chunk({"content": "a\ud83d"}), chunk({"content": "\ude00\0b"}), chunk({}), STOP]
    )
    deltas, reply = await ask(provider)
    assert reply.message.text == "a\U0001f600b" == "".join(d.text for d in deltas)


@pytest.mark.parametrize("clean", [True, False])
async def test_a_cut_stream_is_no_answer(
    model: ScriptedModel, provider: OpenAICompatible, clean: bool
) -> None:
    model.breaks(after="Once upon", clean=clean)
    deltas, error = await failing(provider)
    assert [d.text for d in deltas] == ["Once upon"]
    assert isinstance(error, ModelBroken) and len(model.requests) == 1
    model.breaks(clean=clean).says("Here.")
    assert (await ask(provider))[1].message.text == "Here.", "nothing had been shown: again"


async def test_a_cut_after_the_end_is_no_loss(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    model.sends_raw([chunk({"content": "Hi"}), STOP])
    assert (await ask(provider))[1].message.text == "Hi"


async def test_an_error_in_the_middle(model: ScriptedModel, provider: OpenAICompatible) -> None:
    error = f"data: {json.dumps({'error': {'message': 'out of memory', 'code': 502}})}\n"
    model.sends_raw([chunk({"content": "Hi"}), error])
    _, failure = await failing(provider)
    assert isinstance(failure, ModelBroken) and "out of memory" in str(failure)
    model.sends_raw([error]).says("Fine.")
    assert (await ask(provider))[1].message.text == "Fine."
    broken = {"delta": {}, "finish_reason": "error", "error": {"message": "gone"}}
    model.sends_raw([chunk({"content": "Hi"}), f"data: {json.dumps({'choices': [broken]})}\n"])
    assert "gone" in str((await failing(provider))[1])


async def test_a_success_that_is_an_error(model: ScriptedModel, provider: OpenAICompatible) -> None:
    model.queue.append(Scripted(body={"error": {"message": "No such model", "code": 404}}))
    _, error = await failing(provider)
    assert isinstance(error, ModelRefused) and "No such model" in str(error)
    model.queue.append(Scripted(body="<html><body>Welcome</body></html>"))
    _, error = await failing(provider)
    assert isinstance(error, ModelRefused) and "web page" in str(error)


async def test_a_server_that_does_not_stream(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    function = {"name": "get_time", "arguments": "{}"}
    message = {"content": "Hi", "tool_calls": [{"id": "a", "function": function}]}
    choice = {"message": message, "finish_reason": "stop"}
    model.queue.append(Scripted(body={"choices": [choice], "usage": {"prompt_tokens": 5}}))
    deltas, reply = await ask(provider, TOOLS)
    assert [d.text for d in deltas] == ["Hi"] and reply.usage.prompt_tokens == 5
    assert reply.message.calls == (ToolCall("a", "get_time"),)


@pytest.mark.parametrize("nonsense", ["data: {", "data: 3\n", "data: []\n", "nothing", ""])
async def test_nonsense(model: ScriptedModel, provider: OpenAICompatible, nonsense: str) -> None:
    model.sends_raw([nonsense, ""]).says("Fine.")
    assert (await ask(provider))[1].message.text == "Fine."


async def test_an_empty_answer_is_asked_for_again_once(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    model.says_nothing().says("Here.")
    assert (await ask(provider))[1].message.text == "Here."
    model.says(" \n").says_nothing()
    with pytest.raises(ModelEmpty):
        await ask(provider)
    model.forget()
    model.says("", reasoning="hm", finish="length").says("too late")
    deltas, error = await failing(provider)
    assert isinstance(error, ModelEmpty) and "length limit" in str(error)
    assert [d.reasoning for d in deltas] == ["hm"] and len(model.requests) == 1


async def test_whoever_leaves_closes_the_stream(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    model.says("Once upon a time", chunks=2, hold=True)
    task = asyncio.create_task(ask(provider))
    await model.wait_for_requests(1)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await model.wait_for_disconnects(1, timeout=1)
    assert model.in_flight == 0
