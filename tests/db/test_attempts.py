"""Which ends of an attempt count against a message, and which it has no part in."""

import asyncio
import errno
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from memtrix_as.agent.dispatcher import CRASHED, Dispatcher
from memtrix_as.db import agents, inbox, queue, workers
from memtrix_as.db.agents import Agent
from memtrix_as.db.inbox import Arrival, Item
from memtrix_as.db.jobs import FETCH
from memtrix_as.db.pool import Pool, connect
from memtrix_as.db.queue import Lease
from memtrix_as.errors import LostTurn
from tests.faults.relay import Line
from tests.rig.bench import LANE, MAIN, ROOM, Room, lease, open_room
from tests.rig.database import Database
from tests.rig.waiting import eventually

ATTEMPTS = 3  # that a message gets
# The answer to what changes an item comes half a second after it is committed in all but name.
LATE = """
create function late() returns trigger language plpgsql as
    $$ begin perform pg_sleep(0.5); return null; end $$;
create constraint trigger late after update of attempts on inbox deferrable initially deferred
    for each row execute function late();
"""


@dataclass
class Turns:
    """A process that handles messages: each call of `work` is a worker of its own."""

    pool: Pool
    direct: Pool
    failures: list[BaseException | None] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)  # attempts, as each turn began
    line: Line | None = None

    def __post_init__(self) -> None:
        self.room = Room(self.direct)
        self._dispatcher = Dispatcher(self.pool, self.room, {"message": self._handle}, ATTEMPTS)

    async def _handle(self, item: Item, _: Lease) -> bool:
        self.counted.append(item.attempts)
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, OSError) and self.line:
            self.line.away()
            await self.pool.fetchval("select 1")
        if failure:
            raise failure
        return False

    async def work(self) -> None:
        """Take the lane up, as a worker that is dead afterwards."""
        found = await lease(self.direct)
        assert found
        try:
            await self._dispatcher.drain(*found)
        except asyncio.CancelledError:
            pass
        finally:
            if self.line:
                self.line.heal()
            await queue.recover(self.direct)


@pytest.fixture
async def direct(database: Database) -> AsyncIterator[Pool]:
    """A line to the database that nothing cuts."""
    pool = await connect(database.dsn)
    await agents.keep_main(pool, Agent("memtrix", MAIN, "Memtrix", True, "m", False, False))
    await open_room(pool)
    event = {"sender": "@ann:hs.test", "content": {"body": "hello"}}
    await inbox.put(pool, [Arrival(LANE, "message", ROOM, "memtrix", "$1", event)])
    yield pool
    await pool.close()


@pytest.fixture
async def line(database: Database) -> AsyncIterator[Line]:
    line = Line(int(database.dsn.rpartition(":")[2].partition("/")[0]))
    await line.start()
    yield line
    await line.stop()


@pytest.fixture
async def turns(database: Database, direct: Pool, line: Line) -> AsyncIterator[Turns]:
    head, _, tail = database.dsn.rpartition(":")
    pool = await connect(f"{head}:{line.port}/{tail.partition('/')[2]}")
    yield Turns(pool, direct, line=line)
    line.heal()
    await pool.close()


async def counts(pool: Pool) -> int:
    return int(await pool.fetchval("select cardinality(attempts) from inbox"))


async def test_what_ends_the_process_each_time_is_given_up(direct: Pool) -> None:
    for number in range(1, ATTEMPTS + 1):
        found = await lease(direct)
        assert found
        item = await inbox.claim(direct, *found)  # and nothing more is heard of it
        assert item and item.attempts == number
        await queue.recover(direct)
    turns = Turns(direct, direct)
    await turns.work()
    assert not turns.counted, "it is not begun once more"
    said = await direct.fetchval("select text from outbox")
    assert f"interrupted {ATTEMPTS} times" in said


async def test_a_database_that_goes_away_is_no_fault_of_a_message(turns: Turns) -> None:
    turns.failures = [OSError()] * (2 * ATTEMPTS)
    for _ in range(2 * ATTEMPTS + 1):
        await turns.work()
    assert turns.counted == [1] * (2 * ATTEMPTS + 1)
    assert await turns.direct.fetchval("select error from inbox") is None


async def test_a_full_disk_is_told_and_not_taken_for_the_database(direct: Pool) -> None:
    turns = Turns(direct, direct, failures=[OSError(errno.ENOSPC, "No space left on device")])
    await turns.work()
    assert turns.counted == [1]
    assert CRASHED in await direct.fetchval("select text from outbox")
    assert await direct.fetchval("select done_at is not null from inbox")


async def test_nor_is_one_that_goes_away_while_a_message_is_taken_up(
    turns: Turns, line: Line
) -> None:
    async def committed() -> bool:
        return await counts(turns.direct) == 1

    await turns.direct.execute(LATE)
    try:
        working = asyncio.create_task(turns.work())
        await asyncio.sleep(0.2)
        line.away()
        await working
        assert not turns.counted
        await eventually(committed, "the claim that nobody has heard of")
    finally:
        await turns.direct.execute("drop function late cascade")
    await turns.work()
    assert turns.counted == [1]


@pytest.mark.parametrize("end", [asyncio.CancelledError(), LostTurn("it is another's")])
async def test_nor_is_a_process_that_stops_or_lost_it(turns: Turns, end: BaseException) -> None:
    turns.failures = [end]
    await turns.work()
    await turns.work()
    assert turns.counted == [1, 1]


async def test_it_is_not_counted_either_where_others_have_it_by_then(turns: Turns) -> None:
    """The database is back, and another process is at the message before this one can say so."""
    found = await lease(turns.direct)
    assert found
    lane, first = found
    assert await inbox.claim(turns.direct, lane, first)
    await queue.recover(turns.direct)
    found = await lease(turns.direct)
    assert found
    item = await inbox.claim(turns.direct, *found)
    assert item and item.attempts == 2
    await inbox.give_back(turns.direct, [first.job_id])
    assert await counts(turns.direct) == 1


async def test_what_brings_a_process_to_a_standstill_counts_when_that_goes_on(
    direct: Pool,
) -> None:
    async with direct.acquire() as alive:
        worker_id = await alive.fetchval(
            "insert into procrastinate_workers default values returning id"
        )
        await workers.lock(alive, worker_id)
        job = await alive.fetchrow("select id from procrastinate_fetch_job_v2(null, $1)", worker_id)
        assert await inbox.claim(direct, LANE, Lease(job["id"], worker_id))
        await alive.execute("update procrastinate_workers set last_heartbeat = '2020-01-01'")
        assert await queue.recover(direct) == (1, False)
        await inbox.give_back(direct, [job["id"]])  # it has seen that it lost the turn
        assert await counts(direct) == 1
        await workers.unlock(alive)


async def test_what_a_dead_process_had_fetched_and_not_begun_does_not_count(direct: Pool) -> None:
    lanes = [f"memtrix !other{n}" for n in range(5)]
    event = {"sender": "@ann:hs.test", "content": {"body": "hello"}}
    await inbox.put(direct, [
        Arrival(lane, "message", lane.partition(" ")[2], "memtrix", f"$o{n}", event)
        for n, lane in enumerate(lanes)
    ])  # fmt: skip
    worker_id = await direct.fetchval(
        "insert into procrastinate_workers default values returning id"
    )
    fetch = FETCH
    for name, value in (("queues", "'{lanes}'"), ("worker_id", str(worker_id)), ("most", "25")):
        fetch = fetch.replace(f"%({name})s", value)
    assert len(await direct.fetch(fetch)) == 6
    await queue.recover(direct)
    assert await direct.fetchval("select count(*) from procrastinate_jobs where status = 'todo'")
    assert not await direct.fetch("select from inbox where attempts <> '{}'")
