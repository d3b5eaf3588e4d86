"""Many lanes at once: each is worked on once, no more of them than there are places."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from memtrix_as.db import queue, workers
from memtrix_as.db.pool import Pool, connect
from memtrix_as.db.queue import Lease, Queue
from tests.rig import waiting
from tests.rig.database import Database

LANES = [f"memtrix !room{n}" for n in range(60)]
DOING = "select count(*) from procrastinate_jobs where status = 'doing'"
LEFT = "select count(*) from procrastinate_jobs"


class Drain:
    """Holds every lane until it is let go."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.at_once = self.most = 0
        self.go_on = asyncio.Event()

    async def __call__(self, lane: str, _: Lease, __: Callable[[], bool]) -> None:
        self.begun[lane] += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.go_on.wait()
        self.at_once -= 1


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await connect(database.dsn)
    yield pool
    await pool.close()


@asynccontextmanager
async def working(database: Database, pool: Pool, drain: Drain, places: int) -> AsyncIterator[None]:
    working = Queue(database.dsn, pool, drain, places)
    await working.start()
    try:
        yield
    finally:
        await working.stop()


async def until(pool: Pool, sql: str, wanted: int) -> None:
    async with asyncio.timeout(60):
        while await pool.fetchval(sql) != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_all_lanes_are_worked_on_at_once_and_once(database: Database, pool: Pool) -> None:
    drain = Drain()
    for lane in LANES:
        await queue.wake(pool, lane)
    async with working(database, pool, drain, 1000):
        await until(pool, DOING, len(LANES))
        for lane in LANES:  # for what comes meanwhile each is to be worked on once more
            await queue.wake(pool, lane)
        await asyncio.sleep(0.3)
        assert drain.begun == dict.fromkeys(LANES, 1)
        drain.go_on.set()
        await until(pool, LEFT, 0)
    assert drain.begun == dict.fromkeys(LANES, 2)


async def test_no_more_is_taken_than_there_are_places(database: Database, pool: Pool) -> None:
    drain = Drain()
    for lane in LANES:
        await queue.wake(pool, lane)
    async with working(database, pool, drain, 7):
        await until(pool, DOING, 7)
        await asyncio.sleep(0.3)
        # What it cannot begin is left to other processes.
        assert await pool.fetchval(DOING) == drain.at_once == 7
        drain.go_on.set()
        await until(pool, LEFT, 0)
    assert drain.begun == dict.fromkeys(LANES, 1)


LIBRARYS = """
    select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
        and (query ~* '^listen' or query like '%procrastinate%' and query like '%update%')
        and pid <> pg_backend_pid()"""
LOCKED = "select pid from pg_locks where locktype = 'advisory' and classid = $1::oid"


async def test_whose_lock_is_lost_is_sure_of_nothing_until_it_has_a_new_one(
    database: Database, pool: Pool
) -> None:
    one = Queue(database.dsn, pool, Drain(), 5)
    await one.start()
    try:
        await waiting.until(lambda: one.sure, "the worker", 5)
        holder = partial(pool.fetchval, LOCKED, workers.LOCKS)
        pid = await waiting.eventually(holder, "its lock", 5)
        await pool.execute("select pg_terminate_backend($1)", pid)
        await waiting.until(lambda: not one.sure, "it to know", 1)
        await waiting.until(lambda: one.sure, "a new one", 10)
        assert await waiting.eventually(holder, "its new lock", 5) != pid
    finally:
        await one.stop()


async def test_who_was_taken_for_dead_is_sure_of_nothing_and_begins_anew(
    database: Database, pool: Pool
) -> None:
    drain = Drain()
    drain.go_on.set()
    one = Queue(database.dsn, pool, drain, 5)
    await one.start()
    try:
        buried = partial(pool.fetchval, "delete from procrastinate_workers returning id")
        await waiting.eventually(buried, "the worker", 5)
        await waiting.until(lambda: not one.sure, "it to know", 5)
        await waiting.until(lambda: one.sure, "a new one", 10)
        await queue.wake(pool, LANES[0])
        await waiting.until(lambda: drain.begun, "its work", 10)
    finally:
        await one.stop()


async def test_a_lane_is_free_again_though_its_end_could_not_be_noted(
    database: Database, pool: Pool
) -> None:
    """The library's connections may be cut, and the one that shows us alive not."""
    drain = Drain()
    await queue.wake(pool, LANES[0])
    async with working(database, pool, drain, 5):
        await until(pool, DOING, 1)
        await pool.execute(LIBRARYS)
        drain.go_on.set()
        await waiting.until(lambda: not drain.at_once, "the drain to end", 10)
        await until(pool, LEFT, 0)
        await queue.wake(pool, LANES[0])
        await waiting.until(lambda: drain.begun[LANES[0]] > 1, "it to be worked on", 10)
