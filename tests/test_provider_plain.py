"""Providers that answer in one piece: whatever they return is a message, or one plain sentence."""

import asyncio
import threading
import time
from collections import OrderedDict
from types import SimpleNamespace as Object
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from memtrix_as.errors import ModelBroken, ModelEmpty, ModelError, ModelQuota, ModelTimeout
from memtrix_as.messages import Delta, Image, Message, Reply, ToolCall, ToolSpec
from memtrix_as.providers.base import BaseProvider, Request
from memtrix_as.providers.plain import Plain

CLOCK = ToolSpec("get_time", "The time.", {"type": "object", "properties": {}})
WORLD = {"name": "get_time", "arguments": '{"zone": "UTC"}'}


class Says(BaseProvider):
    """Returns what it is told to, and keeps what it was asked."""

    def __init__(self, said: object) -> None:
        super().__init__(name="says")
        self.said = said
        self.asked: list[Any] = []

    def completions(self, model: str, history: Any, tools: Any = None) -> Any:
        self.asked.append((model, history, tools))
        if isinstance(self.said, BaseException):
            raise self.said
        return self.said() if callable(self.said) else self.said


async def ask(provider: BaseProvider, *messages: Message, **how: Any) -> tuple[list[Delta], Reply]:
    request = Request("m", messages or (Message("user", "hi"),), [CLOCK], **how)
    pieces = [piece async for piece in Plain(provider, "mine").stream(request)]
    *deltas, reply = pieces
    assert isinstance(reply, Reply)
    return [d for d in deltas if isinstance(d, Delta)], reply


def completion(**message: Any) -> ChatCompletion:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    return ChatCompletion.model_validate(
        {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice],
         "usage": usage}
    )  # fmt: skip


CALL = {"id": "c1", "type": "function", "function": WORLD}
SHAPES: list[Any] = [
    {"content": "Noon.", "tool_calls": [CALL]},
    {"role": "assistant", "content": "Noon.", "tool_calls": [{"function": WORLD}]},
    {"content": "Noon.", "tool_calls": [WORLD]},
    {"content": "Noon.", "tool_calls": [{"function": {**WORLD, "arguments": {"zone": "UTC"}}}]},
    {"message": {"content": "Noon.", "tool_calls": [CALL]}, "done_reason": "stop"},
    {"choices": [{"message": {"content": "Noon.", "tool_calls": [CALL]}}]},
    OrderedDict(content=[{"type": "text", "text": "Noon."}], tool_calls=(CALL,)),
    Object(content="Noon.", tool_calls=[Object(id="c1", function=Object(**WORLD))]),
    Object(content="Noon.", tool_calls=[Object(name="get_time", arguments={"zone": "UTC"})]),
    Object(message=Object(content="Noon.", tool_calls=[Object(function=Object(**WORLD))])),
    completion(content="Noon.", tool_calls=[CALL]),
    completion(content="Noon.", tool_calls=[CALL]).choices[0].message,
]


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_message_may_have_many_shapes(shape: Any) -> None:
    deltas, reply = await ask(Says(shape))
    assert reply.message.text == "".join(d.text for d in deltas) == "Noon."
    (call,) = reply.message.calls
    assert (call.name, call.arguments, bool(call.id)) == ("get_time", {"zone": "UTC"}, True)


async def test_text_thoughts_and_what_it_cost() -> None:
    assert (await ask(Says("Noon.")))[1].message.text == "Noon."
    for thought in (
        {"content": "Noon.", "thinking": "easy"},
        Object(content="Noon.", reasoning="easy"),
        "<think>easy</think>Noon.",
    ):
        message = (await ask(Says(thought)))[1].message
        assert (message.text, message.reasoning) == ("Noon.", "easy")
    used = (await ask(Says(completion(content="Noon."))))[1].usage
    assert (used.prompt_tokens, used.completion_tokens) == (7, 2)
    used = (await ask(Says({"message": {"content": "x"}, "prompt_eval_count": 5})))[1].usage
    assert used.prompt_tokens == 5


async def test_it_is_asked_in_the_format_of_openai() -> None:
    provider = Says("Noon.")
    await ask(
        provider,
        Message("system", "Be brief."),
        Message("user", "time?", images=(Image("a.png", b"x", "image/png"),)),
        Message("assistant", calls=(ToolCall("c1", "get_time", {"zone": "UTC"}),)),
        Message("tool", "12:00", call_id="c1"),
    )
    ((model, history, tools),) = provider.asked
    assert model == "m" and tools[0]["function"]["name"] == "get_time"
    assert history[0] == {"role": "system", "content": "Be brief."}
    assert history[1]["content"][1]["type"] == "image_url"
    assert history[2]["tool_calls"][0]["function"]["arguments"] == '{"zone": "UTC"}'
    assert history[3] == {"role": "tool", "tool_call_id": "c1", "content": "12:00"}


async def test_it_gets_what_it_names() -> None:
    got: list[dict[str, Any]] = []

    class Names(BaseProvider):
        async def completions(self, model, history, *, think, temperature, **more):  # type: ignore
            got.append({"think": think, "temperature": temperature, **more})
            return "ok"

    class Few(BaseProvider):
        def completions(self, model, history):  # type: ignore
            return "ok"

    await ask(Names(), think=True)
    assert got[0].pop("tools") and got == [{"think": True, "temperature": 0.7}]
    assert (await ask(Few()))[1].message.text == "ok"


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (ValueError("no <b>such</b>\n  key sk-1234567"), ModelBroken,
         'The provider "mine" failed (ValueError: no such key [key]).'),
        (KeyError(), ModelBroken, 'The provider "mine" failed (KeyError).'),
        (TimeoutError("socket"), ModelBroken, "(TimeoutError: socket)"),
        (SystemExit(3), ModelBroken, "RuntimeError: it ended with SystemExit"),
        (StopIteration(), ModelBroken, "StopIteration"),
        (asyncio.CancelledError(), ModelBroken, "CancelledError"),
        (ModelQuota("Nothing left."), ModelQuota, "Nothing left."),
        (None, ModelBroken, "no message but a NoneType"),
        (5, ModelBroken, "no message but a int"),
        ({"text": "x"}, ModelBroken, "no message but a dict"),
        ({"choices": 5}, ModelBroken, "TypeError"),
        ({"content": ""}, ModelEmpty, "empty"),
        ("", ModelEmpty, "empty"),
    ],
)  # fmt: skip
async def test_what_goes_wrong_is_one_sentence(said: Any, kind: type, words: str) -> None:
    with pytest.raises(kind) as caught:
        await ask(Says(said))
    assert words in str(caught.value) and "\n" not in str(caught.value)


async def test_one_that_blocks_holds_up_nobody_and_has_its_time() -> None:
    free = threading.Event()
    begun = time.monotonic()
    many = [ask(Says(lambda: free.wait(30) and "late"), timeout=0.3) for _ in range(20)]
    outcomes = await asyncio.gather(*many, return_exceptions=True)
    assert time.monotonic() - begun < 3
    assert {type(outcome) for outcome in outcomes} == {ModelTimeout}
    assert str(outcomes[0]) == 'The provider "mine" did not answer within 0.3 seconds.'
    assert await asyncio.to_thread(lambda: 1) == 1
    free.set()


async def test_it_need_not_know_its_models_or_how_to_close() -> None:
    plain = Plain(Says("x"), "mine")
    with pytest.raises(ModelError, match="does not tell"):
        await plain.models()
    await plain.close()
