"""Being told of something by the database, from whatever process it was written in."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import asyncpg

from memtrix_as.db.pool import DOWN

log = logging.getLogger(__name__)

# Each rung by a trigger.
PASSAGES = "memtrix_passages"
AGENTS = "memtrix_agents"
ANSWERS = "memtrix_answers"  # to questions that tools wait for


class Bell:
    """Wakes whoever waits for it in this process."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def ring(self) -> None:
        for event in self._waiting:
            event.set()

    @contextmanager
    def heard(self) -> Iterator[asyncio.Event]:
        """An event that is set at each ring, for whoever clears it."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            yield event
        finally:
            self._waiting.discard(event)


async def listen(dsn: str, channel: str, ring: Callable[[], None]) -> None:
    """Call `ring` whenever the channel is notified, and after each time that it could not be heard.

    Runs until it is cancelled, on a connection of its own.
    """
    while True:
        lost = asyncio.Event()
        try:
            connection = await asyncpg.connect(dsn, timeout=20)
        except (*DOWN, asyncpg.PostgresError):
            await asyncio.sleep(2)
            continue
        try:
            connection.add_termination_listener(lambda _, lost=lost: lost.set())
            await connection.add_listener(channel, lambda *_: ring())
            ring()
            await lost.wait()
            log.info("The connection that listens for %s was lost", channel)
        except DOWN:
            await asyncio.sleep(2)
        finally:
            connection.terminate()
