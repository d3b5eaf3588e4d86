"""Work in the background lets humans go first, where a model answers one after the other."""

import asyncio
import logging
from collections.abc import Sequence

from memtrix_as.agent.means import Means, NamedModel
from memtrix_as.db import overdue
from memtrix_as.errors import GaveWay
from memtrix_as.messages import Message, Reply

log = logging.getLogger(__name__)

LOOK = 1.0  # seconds between two looks whether somebody waits, while a model works for nobody


async def reply(
    means: Means, name: str, model: NamedModel, prompt: Sequence[Message], *, timeout: float,
    tries: int = 1,
) -> Reply | None:  # fmt: skip
    """Ask the model called `name` for what nobody waits for, as its `stream` does.

    A scarce one is not begun with, and broken off, while a human waits whose answer cannot be seen
    yet. With several `tries` it is begun anew once nobody waits; then, or where nobody may be
    waited for, GaveWay.
    """
    if not model.scarce:
        return await _ask(model, prompt, timeout)
    models = means.config.models
    alike = [n for n, m in models.items() if name in models and m.provider == models[name].provider]
    for number in range(tries):
        if number or tries > 1:
            await _quiet(means, alike, timeout)
        elif await overdue.waits(means.pool, alike):
            break
        task = asyncio.create_task(_ask(model, prompt, timeout))
        try:
            while True:
                await asyncio.wait({task}, timeout=LOOK)
                if task.done():
                    return task.result()
                if await overdue.waits(means.pool, alike):
                    log.info("Work of %s in the background lets a human go first", name)
                    break
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    raise GaveWay("A human was let go first.")


async def _quiet(means: Means, models: Sequence[str], patience: float) -> None:
    """Until nobody waits, for a bounded time."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + patience
    while await overdue.waits(means.pool, models):
        if clock() > deadline:
            raise GaveWay("Humans were let go first all the time.")
        await asyncio.sleep(LOOK)


async def _ask(model: NamedModel, prompt: Sequence[Message], timeout: float) -> Reply | None:
    async for piece in model.stream(prompt, [], timeout=timeout):
        if isinstance(piece, Reply):
            return piece
    return None
