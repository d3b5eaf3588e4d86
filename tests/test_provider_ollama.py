"""Ollama: the context it gives, thinking, old servers; and OpenRouter's say in privacy."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from memtrix_as.errors import ConfigError, ModelRefused
from memtrix_as.messages import Message, Reply, ToolSpec
from memtrix_as.providers.base import BaseProvider, Request
from memtrix_as.providers.ollama import Ollama
from memtrix_as.providers.openrouter import OpenRouter
from memtrix_as.testing import ScriptedModel

TOOLS = [ToolSpec("get_time", "The time", {"type": "object"})]


@pytest.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    async with ScriptedModel() as scripted:
        yield scripted


@pytest.fixture
async def ollama(model: ScriptedModel) -> AsyncIterator[Ollama]:
    provider = Ollama(model.url)
    yield provider
    await provider.close()


async def ask(provider: BaseProvider, name: str = "scripted", **more: Any) -> Reply:
    request = Request(name, [Message("user", "hello")], **more)
    [reply] = [p async for p in provider.stream(request) if isinstance(p, Reply)]
    return reply


def paths(model: ScriptedModel) -> list[str]:
    return [path.removeprefix("/api/") for path, _ in model.ollama.asked]


async def test_the_context_is_made_by_an_alias(model: ScriptedModel, ollama: Ollama) -> None:
    await asyncio.gather(*(ask(ollama, context=16384) for _ in range(5)))
    assert {request.model for request in model.requests} == {"scripted-memtrix-16384"}
    assert model.ollama.created["scripted-memtrix-16384"] == {
        "model": "scripted-memtrix-16384",
        "from": "scripted",
        "parameters": {"num_ctx": 16384},
        "stream": False,
    }
    assert paths(model) == ["show", "create", "ps"], "many at once ask once"
    assert await ollama.models() == ["scripted"]


@pytest.mark.parametrize("context", [32768, 16384])
async def test_a_model_that_has_enough_is_used_as_it_is(
    model: ScriptedModel, ollama: Ollama, context: int
) -> None:
    model.ollama.parameters = {"num_ctx": 32768, "stop": '"</s>"'}
    await ask(ollama, context=context)
    assert model.requests[0].model == "scripted" and not model.ollama.created


async def test_no_model_gets_more_than_it_was_made_for(
    model: ScriptedModel, ollama: Ollama, caplog: pytest.LogCaptureFixture
) -> None:
    model.ollama.trained_context = 8192
    await ask(ollama, context=65536)
    assert model.requests[0].model == "scripted-memtrix-8192"
    assert "was made for 8192 tokens, not for 65536" in caplog.text


async def test_an_old_server_is_used_as_it_is(
    model: ScriptedModel, ollama: Ollama, caplog: pytest.LogCaptureFixture
) -> None:
    model.ollama.creates = False
    model.ollama.capabilities = None
    await ask(ollama, context=16384, tools=TOOLS)
    await ask(ollama, context=16384)
    assert [request.model for request in model.requests] == ["scripted", "scripted"]
    assert model.requests[0].tools, "it may be able to"
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 2 and "OLLAMA_CONTEXT_LENGTH" in warnings[0]
    assert "gives scripted 4096 tokens of context, though 16384" in warnings[1]


async def test_what_a_model_can_do_is_known_beforehand(
    model: ScriptedModel, ollama: Ollama
) -> None:
    model.ollama.capabilities = ["completion", "thinking"]
    await ask(ollama, tools=TOOLS, think=True)
    await ask(ollama)
    first, second = (request.body for request in model.requests)
    assert "tools" not in first and first["reasoning_effort"] == "high"
    assert second["reasoning_effort"] == "none"


async def test_a_model_that_cannot_think_is_not_told_to(
    model: ScriptedModel, ollama: Ollama
) -> None:
    await ask(ollama, think=True, tools=TOOLS)
    assert "reasoning_effort" not in model.requests[0].body and model.requests[0].tools


async def test_a_refusal_to_think_is_remembered(model: ScriptedModel, ollama: Ollama) -> None:
    model.ollama.capabilities = ["completion", "thinking"]
    model.fails(400, '"scripted" does not support thinking')
    for _ in range(2):
        await ask(ollama, think=True)
    told = ["reasoning_effort" in request.body for request in model.requests]
    assert told == [True, False, False]


async def test_no_such_model(model: ScriptedModel, ollama: Ollama) -> None:
    with pytest.raises(ModelRefused, match=r'no model "llama9"; `ollama pull llama9` fetches'):
        await ask(ollama, "llama9")
    assert not model.requests
    model.ollama.models.append("llama9")
    assert (await ask(ollama, "llama9")).message.text == "You said: hello", "pulled meanwhile"


async def test_the_address_may_end_in_v1_and_one_context_may_serve_all(
    model: ScriptedModel,
) -> None:
    provider = Ollama(f"{model.url}/v1/", context=32768, keep_alive="30m")
    for context in (8192, 4096):
        await ask(provider, context=context)
    await provider.close()
    assert {request.model for request in model.requests} == {"scripted-memtrix-32768"}
    [kept] = [body for path, body in model.ollama.asked if path == "/api/generate"]
    assert kept == {"model": "scripted-memtrix-32768", "keep_alive": "30m", "stream": False}


async def test_openrouter_is_told_to_be_discreet(model: ScriptedModel) -> None:
    provider = OpenRouter("k", f"{model.url}/v1", zdr=True, order=["mistral"])
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.0025}
    chunk = {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}], "usage": usage}
    model.sends_raw([f"data: {json.dumps(chunk)}\n"])
    reply = await ask(provider, think=True)
    await ask(provider)
    await provider.close()
    assert (reply.message.text, reply.usage.cost) == ("Hi", 0.0025)
    request = model.requests[0]
    assert request.body["provider"] == {
        "data_collection": "deny",
        "zdr": True,
        "order": ["mistral"],
    }
    efforts = [request.body["reasoning"]["effort"] for request in model.requests]
    assert efforts == ["medium", "none"]
    assert not {"Http-Referer", "HTTP-Referer", "X-Title"} & request.headers.keys()


async def test_openrouter_explains_its_refusals(model: ScriptedModel) -> None:
    provider = OpenRouter("k", f"{model.url}/v1")
    model.fails(404, "No endpoints found matching your data policy")
    with pytest.raises(ModelRefused, match="data_collection"):
        await ask(provider)
    model.fails(400, "Reasoning is mandatory for this endpoint and cannot be disabled.")
    assert (await ask(provider)).message.text == "You said: hello"
    assert "reasoning" not in model.requests[-1].body
    await provider.close()


def test_openrouter_refuses_bad_settings() -> None:
    with pytest.raises(ConfigError, match="data_collection"):
        OpenRouter("k", data_collection="maybe")
    with pytest.raises(ConfigError, match=r"openrouter\.ai/keys"):
        OpenRouter(" ")
