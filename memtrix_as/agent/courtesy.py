"""Work in the background lets humans go first, where a model answers one after the other."""

import asyncio
import logging
from collections.abc import Sequence

from memtrix_as.agent.means import Means, NamedModel
from memtrix_as.db import overdue
from memtrix_as.errors import GaveWay
from memtrix_as.messages import Message, Reply

log = logging.getLogger(__name__)

APART = 0.2  # seconds between two looks at least, however often the bell rings


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
        disturbance = asyncio.create_task(_until(means, alike, waits=True))
        try:
            await asyncio.wait({task, disturbance}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            await disturbance
            log.info("Work of %s in the background lets a human go first", name)
        finally:
            for each in (task, disturbance):
                each.cancel()
            await asyncio.gather(task, disturbance, return_exceptions=True)
    raise GaveWay("A human was let go first.")


async def _quiet(means: Means, models: Sequence[str], patience: float) -> None:
    """Until nobody waits, for a bounded time."""
    try:
        async with asyncio.timeout(patience) as deadline:
            await _until(means, models, waits=False)
    except TimeoutError:
        if not deadline.expired():
            raise  # the database's
        raise GaveWay("Humans were let go first all the time.") from None


async def _until(means: Means, models: Sequence[str], *, waits: bool) -> None:
    """Until a human waits, or none does: looked at when something was put in line, or done."""
    with means.stirred.heard() as stirred:
        while await overdue.waits(means.pool, models) is not waits:
            await stirred.wait()
            await asyncio.sleep(APART)
            stirred.clear()


async def _ask(model: NamedModel, prompt: Sequence[Message], timeout: float) -> Reply | None:
    async for piece in model.stream(prompt, [], timeout=timeout):
        if isinstance(piece, Reply):
            return piece
    return None
