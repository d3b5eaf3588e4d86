"""Work in the background lets humans go first, and asks the database for nothing meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memtrix_as.agent import courtesy
from memtrix_as.db import agents
from memtrix_as.db.agents import Agent
from memtrix_as.db.pool import Pool, connect
from memtrix_as.errors import GaveWay
from memtrix_as.messages import Message, Reply
from tests.rig.bench import MAIN, Bench, Model
from tests.rig.database import Database
from tests.rig.settings import MODEL
from tests.rig.waiting import until

PROMPT = [Message("user", "Write it down.")]


class Slow(Model):
    """A model of ones own, which answers when it is let."""

    scarce = True

    def __init__(self) -> None:
        super().__init__(())
        self.free, self.asked, self.broken_off = asyncio.Event(), 0, 0

    async def stream(self, messages: Any, tools: Any, *, timeout: float) -> AsyncIterator[Any]:
        self.asked += 1
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            self.broken_off += 1
            raise
        yield Reply(Message("assistant", "Written."))


class Counted:
    """A pool that counts what it is asked."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self.looks = pool, 0

    async def fetchval(self, *query: Any) -> Any:
        self.looks += 1
        return await self._pool.fetchval(*query)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await connect(database.dsn)
    await agents.keep_main(pool, Agent("memtrix", MAIN, "Memtrix", True, MODEL, False, False))
    yield pool
    await pool.close()


@pytest.fixture
async def bench(pool: Pool, tmp_path: Path) -> Bench:
    bench = Bench(pool, tmp_path, Slow(), {})
    await bench.open()
    return bench


async def test_nothing_is_looked_up_while_nothing_happens(bench: Bench, pool: Pool) -> None:
    model, counted = Slow(), Counted(pool)
    means = replace(bench.means, pool=counted)
    work = asyncio.create_task(courtesy.reply(means, MODEL, model, PROMPT, timeout=60))
    await asyncio.sleep(2.5)
    assert counted.looks <= 2 and model.asked == 1
    for _ in range(50):
        means.stirred.ring()
        await asyncio.sleep(0.02)
    assert counted.looks <= 10, "what comes in numbers is looked at once"
    model.free.set()
    found = await work
    assert found and found.message.text == "Written."


@pytest.mark.parametrize("tries", [1, 3])
async def test_it_is_broken_off_at_the_bell_and_begun_anew_at_the_next(
    bench: Bench, pool: Pool, tries: int
) -> None:
    model, means = Slow(), bench.means
    work = asyncio.create_task(courtesy.reply(means, MODEL, model, PROMPT, timeout=60, tries=tries))
    await until(lambda: model.asked == 1, "the call")
    await bench.says("are you there?")
    means.stirred.ring()
    await until(lambda: model.broken_off == 1, "its end")
    if tries == 1:
        with pytest.raises(GaveWay):
            await work
        return
    await asyncio.sleep(0.5)
    assert model.asked == 1, "the human is not answered yet"
    await pool.execute("update inbox set done_at = now()")
    means.stirred.ring()
    await until(lambda: model.asked == 2, "the next try")
    model.free.set()
    assert await work


async def test_humans_who_write_all_the_time_end_its_patience(bench: Bench) -> None:
    await bench.says("are you there?")
    with pytest.raises(GaveWay):
        await courtesy.reply(bench.means, MODEL, Slow(), PROMPT, timeout=0.3, tries=3)


@pytest.mark.parametrize(("lock", "heard"), [("~ memtrix", True), ("~memtrix", False)])
async def test_who_keeps_up_a_journal_hears_when_a_lane_is_done(
    pool: Pool, lock: str, heard: bool
) -> None:
    rung: list[str] = []
    put = """
        insert into procrastinate_jobs (queue_name, task_name, lock, queueing_lock, status)
        values ('lanes', 'drain', $1, $1, 'doing')
        """
    async with pool.acquire() as listener:
        await pool.execute(put, lock)
        await pool.execute(put, "memtrix !room")
        await listener.add_listener(
            "procrastinate_any_queue_v1", lambda *told: rung.append(told[-1])
        )
        await pool.execute("delete from procrastinate_jobs where lock = 'memtrix !room'")
        await asyncio.sleep(0.3)
        await listener.reset()
    assert bool(rung) == heard
