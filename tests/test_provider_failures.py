"""A provider that fails: what is repeated, how long it may take, and what the human reads."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import pytest

from memtrix_as.errors import (
    ConfigError,
    ModelBroken,
    ModelError,
    ModelQuota,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
)
from memtrix_as.messages import Delta, Message, Reply, ToolSpec
from memtrix_as.providers import failures, openai_compatible
from memtrix_as.providers.base import Request
from memtrix_as.providers.openai_compatible import OpenAICompatible
from memtrix_as.testing import ScriptedModel

KEY = "secret-0123456789"
TOOLS = [ToolSpec("get_time", "The time", {"type": "object"})]


@pytest.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    async with ScriptedModel() as scripted:
        yield scripted


@pytest.fixture
async def provider(
    model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[OpenAICompatible]:
    """One that hurries."""
    monkeypatch.setattr(openai_compatible, "FIRST_WAIT", 0.02)
    provider = OpenAICompatible(model.url, KEY, idle_timeout=0.2)
    yield provider
    await provider.close()


async def ask(provider: OpenAICompatible, **more: Any) -> str:
    request = Request("llama", [Message("user", "hello")], **more)
    [reply] = [p async for p in provider.stream(request) if isinstance(p, Reply)]
    return reply.message.text


async def told(provider: OpenAICompatible, **more: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await ask(provider, **more)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400 and KEY not in text, text
    assert not re.search(r"Traceback|Exception|[{}]|\bNone\b", text), text
    return caught.value


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
async def test_what_may_pass_is_repeated(
    model: ScriptedModel, provider: OpenAICompatible, status: int
) -> None:
    model.fails(status, times=3).says("At last.")
    assert await ask(provider) == "At last."
    model.forget()
    model.fails(status, times=9)
    await told(provider)
    assert len(model.requests) == 4


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (400, ModelRefused, "refused the request"),
        (401, ModelRefused, "does not accept our key"),
        (402, ModelQuota, "used up"),
        (403, ModelRefused, "denied"),
        (404, ModelRefused, 'does not offer the model "llama"'),
        (301, ModelRefused, "refused"),
    ],
)
async def test_what_stays_wrong_is_not_repeated(
    model: ScriptedModel, provider: OpenAICompatible, status: int, kind: type, words: str
) -> None:
    model.fails(status)
    error = await told(provider)
    assert type(error) is kind and words in str(error) and len(model.requests) == 1


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}},
        {"error": {"message": "Insufficient credits"}},
        {"error": "out of credit"},
    ],
)
async def test_an_empty_purse_is_not_asked_again(
    model: ScriptedModel, provider: OpenAICompatible, error: Any
) -> None:
    model.fails(429, error)
    assert isinstance(await told(provider), ModelQuota) and len(model.requests) == 1


async def test_the_server_says_how_long_to_wait(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    model.fails(429, retry_after=0.3).says("Thanks for waiting.")
    began = time.monotonic()
    assert await ask(provider) == "Thanks for waiting."
    assert 0.3 <= time.monotonic() - began < 2
    model.forget()
    model.fails(429, retry_after=300)
    error = await told(provider)
    assert "in 5 minutes" in str(error) and len(model.requests) == 1
    model.fails(503, retry_after=20)
    assert isinstance(await told(provider, timeout=5), ModelBroken), "no time to wait so long"


def test_retry_after_may_be_a_date() -> None:
    date = formatdate(time.time() + 60, usegmt=True)
    assert 50 < (failures.retry_after({"retry-after": date}) or 0) <= 60
    assert failures.retry_after({"retry-after": "soon"}) is None
    assert failures.retry_after({"retry-after": "-5"}) == 0


async def test_nothing_answers(model: ScriptedModel, provider: OpenAICompatible) -> None:
    await model.stop()
    error = await told(provider)
    assert isinstance(error, ModelUnreachable)
    assert str(error) == f"The model server at {model.url} does not answer; is it running?"
    with pytest.raises(ModelUnreachable):
        await provider.models()
    task = asyncio.create_task(ask(provider))
    await asyncio.sleep(0.01)
    await model.start()
    assert await task == "You said: hello", "it came up in time"


async def test_no_such_host() -> None:
    provider = OpenAICompatible("http://no-such-host.invalid:1/v1")
    error = await told(provider, timeout=2)
    assert isinstance(error, ModelUnreachable | ModelTimeout)
    await provider.close()


async def test_it_may_not_take_for_ever(model: ScriptedModel, provider: OpenAICompatible) -> None:
    model.hangs()
    began = time.monotonic()
    error = await told(provider, timeout=0.4)
    assert isinstance(error, ModelTimeout) and "within 0.4 seconds" in str(error)
    assert 0.4 <= time.monotonic() - began < 1.5, "no idle timeout before the first piece"
    await model.wait_for_disconnects(1)
    model.says([str(n) for n in range(50)], delay=0.05)
    error = await told(provider, timeout=0.4)
    assert isinstance(error, ModelTimeout) and "finish" in str(error)


async def test_it_may_not_fall_silent(model: ScriptedModel, provider: OpenAICompatible) -> None:
    model.says(["Well", "..."], hold=True)
    began = time.monotonic()
    error = await told(provider)
    assert isinstance(error, ModelTimeout) and "stopped in the middle" in str(error)
    assert time.monotonic() - began < 2 and len(model.requests) == 1


async def test_a_slow_reader_is_not_the_models_fault(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    model.says("a b c d", chunks=4)
    async for _ in provider.stream(Request("m", [Message("user", "hello")])):
        await asyncio.sleep(0.25)  # longer than the idle timeout


async def test_the_providers_words_are_cleaned(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    model.fails(400, {"error": {"message": f"Bad\n\tkey {KEY} or sk-proj-abc123 " + "x" * 999}})
    text = str(await told(provider))
    assert "Bad key [key] or [key] xxx" in text and "…" in text
    model.fails(403, "<html><head><title>no</title></head><h1>Forbidden</h1></html>")
    assert "It said: Forbidden" in str(await told(provider))
    model.fails(400, {"error": {"message": "maximum context length is 8192 tokens"}})
    assert "/clear" in str(await told(provider))
    model.fails(400, {"detail": {"error": {"message": "deep"}}})
    assert "deep" in str(await told(provider))
    model.fails(400, [{"odd": 1}])
    await told(provider)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, '"registry.ollama.ai/library/gemma3:4b" does not support tools'),
        (404, "No endpoints found that support tool use."),
        (400, '"auto" tool choice requires --enable-auto-tool-choice to be set'),
        (500, "tools param requires --jinja flag"),
    ],
)
async def test_a_model_without_tools_chats_without(
    model: ScriptedModel, provider: OpenAICompatible, status: int, words: str
) -> None:
    model.fails(status, words)
    assert await ask(provider, tools=TOOLS) == "You said: hello"
    assert await ask(provider, tools=TOOLS) == "You said: hello"
    assert [bool(request.tools) for request in model.requests] == [True, False, False]
    assert [m async for m in other(provider)], "another model is asked with its tools"
    assert model.requests[-1].tools


async def other(provider: OpenAICompatible) -> AsyncIterator[Delta | Reply]:
    async for piece in provider.stream(Request("other", [Message("user", "hi")], TOOLS)):
        yield piece


async def test_what_a_server_does_not_know_is_left_out(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    model.fails(400, "Unrecognized request argument supplied: stream_options")
    model.fails(400, "Unsupported value: 'temperature' does not support 0.7 with this model.")
    assert await ask(provider) == "You said: hello"
    assert not {"stream_options", "temperature"} & model.requests[-1].body.keys()


async def test_a_bad_schema_does_not_take_all_tools_away(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    model.fails(400, "Invalid schema for tools[0]: oneOf is not supported")
    assert isinstance(await told(provider, tools=TOOLS), ModelRefused)
    assert len(model.requests) == 1


async def test_llama_cpp_that_cannot_parse_its_model(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    words = "The model produced output that does not match the expected peg-native format"
    model.fails(500, words).says("Once more.")
    assert await ask(provider, tools=TOOLS) == "Once more."
    model.forget()
    model.fails(500, words, times=2).says("Without tools.")
    assert await ask(provider, tools=TOOLS) == "Without tools."
    assert [bool(request.tools) for request in model.requests] == [True, True, False]
    model.forget()
    model.fails(500, words, times=9)
    assert isinstance(await told(provider, tools=TOOLS), ModelBroken)
    assert [bool(request.tools) for request in model.requests] == [True, True, False]
    model.forget()
    assert await ask(provider, tools=TOOLS) and model.requests[-1].tools, "not for ever"


async def test_two_hundred_at_once(model: ScriptedModel, provider: OpenAICompatible) -> None:
    model.hold()
    tasks = [asyncio.create_task(ask(provider)) for _ in range(200)]
    await model.wait_for_requests(200, timeout=30)
    assert model.peak_in_flight == 200, "none waits for a free connection"
    model.release()
    assert set(await asyncio.gather(*tasks)) == {"You said: hello"}


async def test_the_key_stays_out_of_logs(
    model: ScriptedModel, provider: OpenAICompatible, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="memtrix_as")
    model.fails(500, f"failed for {KEY}").fails(401, f"not {KEY}")
    await told(provider)
    assert caplog.records and KEY not in caplog.text and KEY not in repr(provider)


def test_a_key_that_cannot_be_one() -> None:
    with pytest.raises(ConfigError, match="api_key"):
        OpenAICompatible("http://127.0.0.1:9", "schlüssel")
