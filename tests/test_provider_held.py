"""What a question leaves behind in memory: nothing."""

import gc

import httpx2

from memtrix_as.messages import Message
from memtrix_as.providers.base import Request
from memtrix_as.providers.openai_compatible import OpenAICompatible
from memtrix_as.testing import Reply, ScriptedModel


async def test_nothing_of_a_question_waits_for_the_garbage_collector() -> None:
    """Many at once have long histories: what holds itself would hold them, too, for a while."""

    def held() -> int:
        return sum(isinstance(each, httpx2.Request) for each in gc.get_objects())

    async with ScriptedModel() as model:
        model.default = lambda _: Reply(["Hel", "lo."])
        provider = OpenAICompatible(model.url)

        async def ask() -> None:
            async for _ in provider.stream(Request("m", [Message("user", "hello")])):
                pass

        try:
            await ask()
            gc.collect()
            before = held()
            gc.disable()
            for _ in range(5):
                await ask()
            assert held() <= before + 1, "the last one may still be closing"
        finally:
            gc.enable()
            await provider.close()
