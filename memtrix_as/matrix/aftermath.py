"""The first start after a restore: the rooms tell what was answered since the backup."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any

from memtrix_as.db import aftermath, restored
from memtrix_as.db.aftermath import Seat
from memtrix_as.db.pool import Pool
from memtrix_as.db.restored import Restored
from memtrix_as.errors import HomeserverError
from memtrix_as.matrix.client import Client, patiently

log = logging.getLogger(__name__)

MOST = 1000  # events at the end of a room that are looked at
AT_ONCE = 8  # rooms


async def settle(client: Client, pool: Pool) -> None:
    """See that nothing is answered a second time; waits for the homeserver if it must.

    HomeserverError when it does not accept our token.
    """
    known = await restored.read(pool)
    if known is None or known.settled:
        return
    log.info("Restored from a backup of %s: asking what was answered since", known.taken_at)
    seats = await aftermath.seats(pool)
    rooms = [list(group) for _, group in groupby(seats, key=lambda seat: seat.room_id)]
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(room: list[Seat]) -> None:
        async with gate:
            await _room(client, pool, room, known)

    await asyncio.gather(*map(one, rooms))
    await restored.settled(pool, known)


async def _room(client: Client, pool: Pool, seats: Sequence[Seat], known: Restored) -> None:
    """What our agents have said there that we do not know answers all that was before it."""
    try:
        events = await _since(client, pool, seats[0], known)
    except HomeserverError as exc:
        if exc.status == 401:  # our token: no room would tell anything
            raise
        log.warning("Cannot see what was answered in %s: %s", seats[0].room_id, exc)
        return
    ours = {seat.user_id: seat.agent for seat in seats}
    spoken = [n for n, event in enumerate(events)
              if event.get("sender") in ours and event.get("type") == "m.room.message"]  # fmt: skip
    if not spoken:
        return
    over = [e for e in events[: spoken[-1] + 1] if "state_key" not in e]
    async with pool.acquire() as connection, connection.transaction():
        await aftermath.settle(
            connection,
            seats[0].room_id,
            sorted({ours[events[n]["sender"]] for n in spoken}),
            [str(event["event_id"]) for event in over],
            known.taken_at,
            known.loaded_at,
        )


async def _since(
    client: Client, pool: Pool, seat: Seat, restored: Restored
) -> list[dict[str, Any]]:
    """The events of a room that came after the backup, oldest first."""
    count = 50
    while True:
        ask = partial(client.last_events, seat.user_id, seat.room_id, count)
        found = await patiently(ask)
        ids = [str(event.get("event_id")) for event in found]
        known, reached = await aftermath.known(pool, ids, restored.loaded_at)
        if reached or len(found) < count or count >= MOST:
            return [e for e in reversed(found) if str(e.get("event_id")) not in known]
        count = min(count * 4, MOST)
