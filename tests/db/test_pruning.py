"""Old rows go, and nothing that anybody reads or that keeps a message from being answered twice."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from memtrix_as.agent.nightly import Nightly, until_night
from memtrix_as.db import pruning, rooms
from memtrix_as.db.pool import Pool, connect
from memtrix_as.messages import Message
from tests.rig.bench import ROOM, settle
from tests.rig.database import Database
from tests.rig.household import Household
from tests.rig.waiting import eventually

YOUNG, OLD = 29, 200  # days


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await connect(database.dsn)
    yield pool
    await pool.close()


async def ages(pool: Pool, days: int) -> None:
    """Rows of every kind that are so many days old."""
    then = timedelta(days=days)
    await pool.execute("insert into events values ($1, now() - $2::interval)", f"${days}", then)
    await pool.execute(
        "insert into usage (id, at, agent, room_id, model, provider, purpose, prompt_tokens,"
        " completion_tokens, estimated) values (gen_random_uuid(), now() - $1::interval, 'a', 'r',"
        " 'm', 'p', 'turn', 1, 1, false)",
        then,
    )
    await pool.execute(
        "insert into undeliverable values ('r', 'a', $1, now() - $2::interval)", f"{days}", then
    )
    await pool.execute(
        "insert into budget_notices values (current_date, 'a', 'tokens', $1, 80,"
        " now() - $2::interval)",
        float(days),
        then,
    )
    await pool.execute(
        """
        insert into inbox (lane, kind, room_id, agent, event_id, payload, received_at, done_at)
        select 'l', kind, 'r', 'a', $1, '{}', now() - $2::interval,
            case when kind <> 'edit' then now() - $2::interval end
        from unnest(array['message', 'command', 'condense', 'edit']) kind
        """,
        f"${days}",
        then,
    )


async def left(pool: Pool, table: str, column: str) -> list[str]:
    rows = await pool.fetch(f"select {column}::text as found from {table} order by 1")
    return [row["found"] for row in rows]


async def prune(pool: Pool) -> dict[str, int]:
    return {t: await pruning.prune(pool, t, age) for t, age in pruning.ages().items()}


async def test_what_is_old_goes_and_what_is_read_stays(pool: Pool) -> None:
    for days in (0, YOUNG, OLD):
        await ages(pool, days)
    await prune(pool)
    assert await left(pool, "events", "event_id") == ["$0", f"${YOUNG}"]
    assert await left(pool, "usage", "extract(day from now() - at)") == ["0", str(YOUNG)]
    assert await left(pool, "undeliverable", "cause") == ["0"]
    assert await left(pool, "budget_notices", "amount") == ["0"]
    kinds = await left(pool, "inbox", "kind || ' ' || event_id")
    both = [f"{kind} ${days}" for kind in ("command", "condense") for days in (0, YOUNG)]
    always = [f"{kind} ${days}" for kind in ("message", "edit") for days in (0, YOUNG, OLD)]
    assert sorted(kinds) == sorted(both + always), "what waits stays, and what was talked"
    assert not any((await prune(pool)).values())


async def test_conversations_and_what_hangs_on_them_stay(pool: Pool, tmp_path: Path) -> None:
    bench = Household(pool, tmp_path, lambda agent, messages: Message("assistant", "Done."))
    await bench.move_in()
    await bench.says("hello")
    await bench.work()
    started = "insert into started_calls select id, 'c' from messages where role = 'assistant'"
    await pool.execute(started)
    await bench.says("and this waits")
    before = {t: await pool.fetchval(f"select count(*) from {t}") for t in ("inbox", "turns",
              "messages", "outbox", "sent", "started_calls")}  # fmt: skip
    for table, column in (("inbox", "done_at"), ("turns", "ended_at"), ("events", "received_at")):
        await pool.execute(f"update {table} set {column} = {column} - interval '400 days'")
    await prune(pool)
    after = {t: await pool.fetchval(f"select count(*) from {t}") for t in before}
    assert after == {**before, "started_calls": 0} and before["started_calls"]
    await bench.work()
    assert bench.room.sent[-1].text == "Done."


async def test_an_installation_that_was_quiet_for_long_is_no_first_start(pool: Pool) -> None:
    assert not await rooms.any_events(pool)
    await pool.execute("insert into rooms (room_id) values ($1)", ROOM)
    await ages(pool, OLD)
    await prune(pool)
    assert await rooms.any_events(pool)


async def test_it_waits_for_nobody(pool: Pool) -> None:
    for days in (OLD, OLD + 1):
        await ages(pool, days)
    async with pool.acquire() as db, db.transaction():
        await db.execute("select from events where event_id = $1 for update", f"${OLD}")
        async with asyncio.timeout(5):
            await pruning.prune(pool, "events", pruning.RESENT)
    assert await left(pool, "events", "event_id") == [f"${OLD}"], "it is for the next night"


async def test_many_pages_and_every_night(pool: Pool, tmp_path: Path) -> None:
    await pool.execute(
        "insert into events select '$' || n, now() - make_interval(days => n % 2 * 100)"
        " from generate_series(1, 100000) n"
    )
    assert await pool.fetchval("select pg_relation_size('events') / 8192") > 2 * pruning.PAGES
    work = asyncio.create_task(Nightly(pool, settle(tmp_path), first=0.0).run())

    async def pruned() -> bool:
        return bool(await pool.fetchval("select count(*) = 50000 from events"))

    await eventually(pruned, "that half of them are gone")
    assert not work.done(), "it sleeps until the next night"
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


@pytest.mark.parametrize(
    ("now", "hours"),
    [
        ("2026-03-01 03:00", 0.5),
        ("2026-03-01 03:30", 24),
        ("2026-03-28 12:00", 14.5),  # the clocks go forward in between
        ("2026-10-24 12:00", 16.5),
    ],
)
def test_the_next_night_is_by_the_clock_on_the_wall(now: str, hours: float) -> None:
    there = datetime.fromisoformat(now).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    assert until_night(there) == hours * 3600
