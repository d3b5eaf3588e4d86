"""What was away is back: work goes on at once, and not when some back-off has ended."""

import asyncio
from collections.abc import Callable

import asyncpg
import pytest

from memtrix_as.db import queue, workers
from memtrix_as.db.pool import connect
from memtrix_as.db.queue import Lease, Queue
from memtrix_as.testing.script import Reply
from tests.faults.outage import Talk
from tests.faults.relay import Line
from tests.faults.storm import Plan, Storm
from tests.faults.town import HUMAN, Town
from tests.rig.database import Database
from tests.rig.timeline import DRAFT
from tests.rig.waiting import until

LANE = "memtrix !room"


async def test_the_queue_tries_a_database_that_is_away_as_often_as_ever(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """The library's own pauses double: 1, 2, 4, 8 seconds, and so on."""
    drained = asyncio.Event()

    async def drain(_: str, __: Lease, ___: Callable[[], bool]) -> None:
        drained.set()

    head, _, tail = database.dsn.rpartition(":")
    line = Line(int(tail.partition("/")[0]))
    await line.start()
    pool = await connect(database.dsn)
    working = Queue(f"{head}:{line.port}/{tail.partition('/')[2]}", pool, drain, 5)
    await working.start()
    try:
        line.away()
        tries = []
        for _second in range(10):
            before = line.tries
            await asyncio.sleep(1)
            tries.append(line.tries - before)
        first, last = sum(tries[:5]), sum(tries[5:])
        assert last > first / 2, f"ever more seldom: {tries}"
        line.heal()
        await queue.wake(pool, LANE)
        await asyncio.wait_for(drained.wait(), 30)
        said = [r.message for r in caplog.records if "he database is" in r.message]
        assert len(said) <= 2, f"said once when it goes, once when it is back: {said}"
    finally:
        await working.stop()
        await pool.close()
        await line.stop()


async def test_what_a_homeserver_kept_is_asked_for_when_it_is_reached_again(town: Town) -> None:
    storm = Storm(town, Plan())
    town.homeserver.heard.append(storm._heard)
    await town.start()
    await town.ready()
    talking, quiet = [Talk(storm, n, await town.chat()) for n in range(2)]
    town.mind.latency = 2.0
    asked = len(town.mind.asked)
    talking.say()
    await until(lambda: len(town.mind.asked) > asked, "the model to be asked", 30)
    town.homeserver.back_off = 3600.0
    refused = town.homeserver.refused
    for name in ("homeserver", "pushes"):
        town.lines[name].away()
    quiet.say()
    await until(lambda: town.homeserver.refused > refused, "a push to fail", 30)
    await until(lambda: "trying again" in town.text(), "the answer to find nobody", 30)
    for name in ("homeserver", "pushes"):
        town.lines[name].heal()
    for each in (talking, quiet):  # the answer that waits is what reaches it first
        assert await storm._all_ended(each.room, 60)


async def test_an_edit_on_its_way_does_not_come_after_the_whole_answer(town: Town) -> None:
    """A homeserver goes on with a request that nobody waits for any more."""
    answer = "This answers r0m0."
    town.model.default = lambda _: Reply(["This ", "answ", "ers r0m0."], delay=1.5)
    await town.start()
    await town.ready()
    room = await town.chat()
    town.homeserver.holds = lambda body: 3.0 if DRAFT in body.get("m.new_content", {}) else 0.0
    town.homeserver.say(room, HUMAN, "say r0m0")
    seen = town.homeserver.rooms[room]
    bodies = lambda: [e["content"].get("body") for e in seen.events]  # noqa: E731
    await until(lambda: f"* {answer}" in bodies(), "the answer", 30)
    await asyncio.sleep(3.5)
    assert "* This answ" in bodies(), "no edit was on its way"
    assert bodies()[-1] == f"* {answer}"


HOLDERS = """
    select pg_terminate_backend(pid) from pg_locks join procrastinate_jobs j
        on j.worker_id = objid::bigint and j.status = 'doing' and j.queue_name = 'lanes'
    where locktype = 'advisory' and classid = $1::oid"""


async def test_who_has_lost_a_turn_shows_no_more_of_it(town: Town) -> None:
    """An edit of the one that lost it, after the whole answer, would leave a piece for good."""
    answer = "This answers r0m0."
    slow = Reply(["This ", *answer.removeprefix("This ")], delay=0.5)
    replies = iter([slow])
    town.model.default = lambda _: next(replies, Reply([answer]))
    await town.start()
    await town.ready()
    await town.start("worker0")
    await until(lambda: "Working for the service" in town.text(), "the worker", 30)
    room = await town.chat()
    town.homeserver.say(room, HUMAN, "say r0m0")
    seen = town.homeserver.rooms[room]
    bodies = lambda: [str(e["content"].get("body")) for e in seen.events]  # noqa: E731
    await until(lambda: bodies()[-1].startswith("* This"), "a piece of the answer", 30)
    direct = await asyncpg.connect(town.database.dsn)
    assert await direct.fetch(HOLDERS, workers.LOCKS)
    await direct.close()
    await until(lambda: f"* {answer}" in bodies(), "the answer", 30)
    await asyncio.sleep(4.0)
    assert bodies()[-1] == f"* {answer}"
