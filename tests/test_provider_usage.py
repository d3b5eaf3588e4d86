"""What a provider says that an answer took: believed where it can be, also of what failed."""

from collections.abc import AsyncIterator

import pytest

from memtrix_as.errors import ModelEmpty
from memtrix_as.messages import Usage
from memtrix_as.providers.openai_compatible import OpenAICompatible
from memtrix_as.testing import ScriptedModel
from tests.test_provider_stream import STOP, ask, chunk, failing


@pytest.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    async with ScriptedModel() as scripted:
        yield scripted


@pytest.fixture
async def provider(model: ScriptedModel) -> AsyncIterator[OpenAICompatible]:
    provider = OpenAICompatible(model.url, "k-test")
    yield provider
    await provider.close()


@pytest.mark.parametrize("told", ["NaN", "Infinity", "-1", '"1"', "[]", "1e300", "null"])
async def test_figures_that_cannot_be_are_not_believed(
    model: ScriptedModel, provider: OpenAICompatible, told: str
) -> None:
    usage = f'"usage": {{"prompt_tokens": {told}, "completion_tokens": {told}, "cost": {told}}}'
    model.sends_raw([chunk({"content": "Hi"}), STOP, f'data: {{"choices": [], {usage}}}\n'])
    _, reply = await ask(provider)
    assert reply.usage == Usage()


async def test_no_figures_are_none(model: ScriptedModel, provider: OpenAICompatible) -> None:
    model.says("Hi", usage={})
    _, reply = await ask(provider)
    assert reply.usage == Usage()


async def test_what_an_empty_answer_took_is_told_with_the_next(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    model.says_nothing(usage={"prompt_tokens": 10, "completion_tokens": 900, "cost": 0.5})
    model.says("Hi", usage={"prompt_tokens": 10, "completion_tokens": 1, "cost": 0.25})
    _, reply = await ask(provider)
    assert reply.usage == Usage(20, 901, 0.75)


async def test_what_empty_answers_took_is_told_with_the_failure(
    model: ScriptedModel, provider: OpenAICompatible
) -> None:
    for _ in range(2):
        model.says_nothing("length", usage={"prompt_tokens": 10, "completion_tokens": 900})
    _, error = await failing(provider)
    assert isinstance(error, ModelEmpty)
    assert (error.prompt_tokens, error.completion_tokens, error.cost) == (20, 1800, None)


async def test_a_refusal_took_nothing(model: ScriptedModel, provider: OpenAICompatible) -> None:
    model.fails(401)
    _, error = await failing(provider)
    assert (error.prompt_tokens, error.completion_tokens, error.cost) == (0, 0, None)
