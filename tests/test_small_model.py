"""One real answer of a real, very small language model, through llama.cpp and our provider."""

from pathlib import Path

import pytest

from memtrix_as.local.small_model import NAME, SmallModel
from memtrix_as.messages import Delta, Message, Reply
from memtrix_as.providers.base import Request
from memtrix_as.providers.openai_compatible import OpenAICompatible

ROOT = Path(__file__).parents[1]


@pytest.mark.small_model
async def test_it_streams_an_answer() -> None:
    async with SmallModel(ROOT / "data" / "models", say=print) as model:
        provider = OpenAICompatible(base_url=model.base_url)
        question = Message("user", "What is the capital of France? Answer in one sentence.")
        request = Request(NAME, [question], temperature=0.0, max_tokens=60, timeout=120)
        try:
            assert await provider.models() == [NAME]  # as the doctor looks for it
            parts = [part async for part in provider.stream(request)]
        finally:
            await provider.close()
    *deltas, reply = parts
    assert isinstance(reply, Reply)
    text = "".join(delta.text for delta in deltas if isinstance(delta, Delta))
    assert "Paris" in reply.message.text
    assert len(deltas) > 3 and text.strip() == reply.message.text.strip()
    assert reply.usage.prompt_tokens > 5 and reply.usage.completion_tokens > 3
