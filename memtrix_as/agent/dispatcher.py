"""Drains lanes: takes one item after the other out of the inbox and has it handled."""

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from memtrix_as.agent import errand, retries
from memtrix_as.config import about
from memtrix_as.db import consultations, inbox, outbox, queue, turns, undeliverable
from memtrix_as.db.inbox import Item
from memtrix_as.db.offers import OFFER
from memtrix_as.db.pool import DOWN, Pool
from memtrix_as.db.queue import Lease
from memtrix_as.errors import LostTurn
from memtrix_as.messages import Place
from memtrix_as.tool import Chat

log = logging.getLogger(__name__)

Handler = Callable[[Item, Lease], Awaitable[bool]]
"""Handles an item; True when it has also committed that the item is done."""

GIVEN_UP = "I was interrupted {attempts} times while I worked on this, so I stopped trying."
GONE = "It was removed meanwhile."
# Errors of files, as of a full disk, are of no database, and tried again they would come for ever.
FROM_FILES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EISDIR}
CRASHED = "Something went wrong inside me; the details are in the log."


class Dispatcher:
    """Knows who handles which kind of item; leaves order and parallelism to the queue."""

    def __init__(
        self, pool: Pool, chat: Chat, handlers: Mapping[str, Handler], attempts: int
    ) -> None:
        self._pool = pool
        self._chat = chat
        self._handlers = handlers
        self._attempts = attempts
        self._blameless: set[int] = set()  # jobs whose attempts are not to count, once that is said

    async def drain(
        self, lane: str, lease: Lease, crowded: Callable[[], bool] = lambda: False
    ) -> None:
        """Handle what waits in the lane until nothing does; what it says is sent in between.

        What comes while the last item is handled wakes the lane anew, as whatever leaves an item
        unfinished must: nobody looks once more for nothing.

        Where it is `crowded`, the lane stands in line again after each item: one busy room must
        not keep the others waiting.
        """
        try:
            await self._give_back()
            item = await inbox.claim(self._pool, lane, lease)
            if item is None or item.unsent:  # left there by a crash, or by a stopped turn
                await self._chat.deliver(lane)
            while item:
                with about(room=item.room_id, agent=item.agent, kind=item.kind, item=item.id,
                           event=item.event_id):  # fmt: skip
                    await self._handle(item, lease)
                    await self._chat.deliver(lane)
                if not item.followed:
                    return
                if crowded():
                    await queue.wake(self._pool, lane)
                    return
                item = await inbox.claim(self._pool, lane, lease)
        except LostTurn as exc:
            log.info("Stopped working on %s: %s", lane, exc)
            await self._give_back(lease)
            await queue.wake(self._pool, lane)
        except DOWN as exc:
            # Nothing is lost: the lane is woken again when the database is back.
            log.warning("The database went away during %s: %s", lane, exc)
            await self._give_back(lease)
        except asyncio.CancelledError:
            await self._give_back(lease)
            raise

    async def _give_back(self, lease: Lease | None = None) -> None:
        """Do not count what ended in this job for no fault of the item; later, if that fails now.

        A claim of which we know not whether it came about is among it.
        """
        self._blameless |= {lease.job_id} if lease else set()
        if owed := [*self._blameless]:
            with suppress(*DOWN):
                await inbox.give_back(self._pool, owed)
                self._blameless -= {*owed}

    async def _handle(self, item: Item, lease: Lease) -> None:
        if item.gone and item.kind == "invite":
            item = replace(item, kind="decline", agent="", gone=False)
        if item.gone and item.kind != OFFER:  # what became of that, its asker says
            await self._bereft(item)
            return
        if item.attempts > self._attempts:
            log.error("Item %d was given up after %d attempts", item.id, item.attempts - 1)
            await self._give_up(item, GIVEN_UP.format(attempts=item.attempts - 1))
            return
        handler = self._handlers.get(item.kind)
        if handler is None:
            log.error("Nobody handles %r", item.kind)
            await inbox.finish(self._pool, item.id, "nobody handles this kind")
            return
        try:
            if not await handler(item, lease):
                await inbox.finish(self._pool, item.id)
        except LostTurn:
            raise
        except Exception as exc:  # one turn: whatever breaks in it must not break the lane
            if isinstance(exc, DOWN) and getattr(exc, "errno", None) not in FROM_FILES:
                raise
            log.exception("Handling %s %d crashed", item.kind, item.id)
            await self._give_up(item, CRASHED)

    async def _bereft(self, item: Item) -> None:
        """End what waits for an agent that is no more; a human who does is told."""
        if item.kind in {consultations.KIND, errand.KIND}:
            await self._give_up(item, GONE)
            return
        async with self._pool.acquire() as connection, connection.transaction():
            if item.kind in {"message", "command"} and await inbox.is_last(connection, item):
                why = undeliverable.REMOVED
                await undeliverable.unanswered(
                    connection, item.room_id, item.agent, item.event_id, why
                )
            await inbox.finish(connection, item.id, "its agent is gone")

    async def _give_up(self, item: Item, words: str) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await turns.give_up(connection, item.id, words)
            if item.kind in {"message", "command", "admin"}:
                place = Place(item.room_id, item.agent)
                told = f"{words} {retries.way(item)}".rstrip()
                await outbox.say(connection, item.lane, place, told, reply_to=item.event_id)
            elif item.kind == errand.KIND:
                await errand.say(connection, item.payload, item.agent, words)
