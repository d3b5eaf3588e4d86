"""The way to those who run this: a notice in the management room, if there is one."""

import logging

from memtrix_as.db import inbox, outbox, queue
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.messages import Place

log = logging.getLogger(__name__)


async def tell_operators(db: Connection | Pool, text: str) -> None:
    """Tell the operators something; with a connection, in its transaction."""
    log.warning("%s", text)
    row = await db.fetchrow(
        "select room_id, (select name from agents where main) as agent from management"
    )
    if row and row["agent"]:
        lane = inbox.turns(row["agent"], row["room_id"])
        await outbox.say(db, lane, Place(row["room_id"], row["agent"]), text)
        await queue.wake(db, lane)
