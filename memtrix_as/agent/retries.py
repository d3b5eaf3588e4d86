"""A human has a message tried again that came to nothing, by 🔁 on it or on what said so."""

import logging

from memtrix_as.agent.means import Means
from memtrix_as.config import role
from memtrix_as.db import inbox, retries
from memtrix_as.db.inbox import Item
from memtrix_as.db.queue import Lease
from memtrix_as.db.retries import KIND
from memtrix_as.messages import AT_TERMINAL

__all__ = ["KIND", "again", "way"]

log = logging.getLogger(__name__)

WAY = "React with 🔁 to try again."
TYPED = "Write it again to try again."


async def again(means: Means, item: Item, _: Lease) -> bool:
    """Put what failed in line once more; a click on anything else says nothing."""
    sender, target = str(item.payload["sender"]), str(item.payload["target"])
    async with means.pool.acquire() as connection, connection.transaction():
        await inbox.hold(connection, item.id)
        for tried in await retries.failed(connection, item.room_id, target):
            if sender == tried.sender or role(means.config.permissions, sender) == "admin":
                log.info("%s has message %d tried again", sender, tried.id)
                await retries.again(connection, tried)
        await inbox.finish(connection, item.id)
    return True


def way(item: Item) -> str:
    """How its human has a failed message tried again; a terminal shows no reactions."""
    if item.hops:
        return ""  # an agent has handed it on
    if item.kind not in ("message", "command") or item.room_id.startswith(AT_TERMINAL):
        return TYPED
    return WAY
