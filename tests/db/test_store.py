"""Taking events in while others wake the same lanes."""

import asyncio
from pathlib import Path

from memtrix_as.db import agents, inbox, queue
from memtrix_as.db.agents import Agent
from memtrix_as.db.pool import connect
from memtrix_as.matrix.appservice import Store
from memtrix_as.matrix.directory import Directory
from tests.rig.bench import ANN, MAIN, settle
from tests.rig.database import Database


async def test_events_are_taken_in_though_lanes_are_woken_in_another_order(
    database: Database, tmp_path: Path
) -> None:
    pool = await connect(database.dsn)
    await agents.keep_main(pool, Agent("memtrix", MAIN, "Memtrix", True, "m", False, False))
    directory = Directory(pool, settle(tmp_path))
    await directory.look()
    store = Store(pool, directory)
    events = []
    for room in ("!a", "!b"):
        await pool.execute("insert into rooms (room_id, synced) values ($1, true)", room)
        for user in (MAIN, ANN):
            await pool.execute("insert into members values ($1, $2, null)", room, user)
        await queue.wake(pool, inbox.turns("memtrix", room))
        content = {"msgtype": "m.text", "body": "hello"}
        events.append({"event_id": f"${room}", "room_id": room, "type": "m.room.message",
                       "sender": ANN, "content": content})  # fmt: skip
    async with pool.acquire() as other, other.transaction():
        await queue.wake(other, inbox.turns("memtrix", "!b"))
        taking = asyncio.create_task(store.take(events))
        await asyncio.sleep(0.3)
        await queue.wake(other, inbox.turns("memtrix", "!a"))
    await taking
    assert await pool.fetchval("select count(*) from inbox") == 2
    await pool.close()
