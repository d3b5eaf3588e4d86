"""The way to those who run this: the management room's outbox, once there is such a room."""

import logging

from memtrix_as.db.pool import Connection, Pool

log = logging.getLogger(__name__)


async def tell_operators(db: Connection | Pool, text: str) -> None:
    """Tell the operators something; with a connection, in its transaction."""
    del db
    log.warning("%s", text)
