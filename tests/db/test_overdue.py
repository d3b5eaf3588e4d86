"""Who is told that a message waits, and what is tried again: once, whoever looks, and when."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memtrix_as.agent import silence
from memtrix_as.agent.silence import Watch
from memtrix_as.db import agents, inbox, outbox, overdue, retries, sessions, turns
from memtrix_as.db.aftermath import ANSWERED
from memtrix_as.db.agents import Agent
from memtrix_as.db.pool import Pool, connect
from memtrix_as.db.turns import Ending, Outgoing, Said
from memtrix_as.messages import Message, Place, Reply, ToolCall, Usage
from tests.rig.bench import ANN, CONTROLS, LANE, MAIN, ROOM, Bench, Model, lease
from tests.rig.database import Database

PLACE = Place(ROOM, "memtrix")
DEADLINE = 180.0


class Plain(Model):
    async def stream(self, messages: Any, tools: Any, *, timeout: float) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        yield Reply(Message("assistant", "Done."))


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await connect(database.dsn)
    await agents.keep_main(pool, Agent("memtrix", MAIN, "Memtrix", True, "m", False, False))
    yield pool
    await pool.close()


@pytest.fixture
async def bench(pool: Pool, tmp_path: Path) -> Bench:
    bench = Bench(pool, tmp_path, Plain([]), {})
    await bench.open()
    return bench


async def passes(pool: Pool, seconds: float = DEADLINE + 1) -> None:
    """Let so much time have gone by for all that waits; negative where the clock is set back."""
    await pool.execute(
        "update inbox set received_at = received_at - make_interval(secs => $1),"
        " watched_at = watched_at - make_interval(secs => $1)",
        seconds,
    )


async def told(pool: Pool) -> list[str]:
    rows = await pool.fetch("select text from outbox where lane = $1 order by id", CONTROLS)
    return [row["text"] for row in rows]


async def look(bench: Bench) -> None:
    await Watch(bench.means).look()


async def begin(bench: Bench, text: str = "hello") -> Any:
    """A message whose turn runs: its item, lease and turn."""
    await bench.says(text)
    found = await lease(bench.pool)
    assert found
    item = await inbox.claim(bench.pool, LANE, found[1])
    assert item
    said = Said(item.id, item.event_id, Message("user", text), 5)
    return item, found[1], await turns.begin(bench.pool, item, ANN, None, [said])


async def test_many_who_look_at_once_tell_it_once(bench: Bench, pool: Pool) -> None:
    await bench.says("hello")
    await look(bench)
    assert not await told(pool), "its time is not up"
    await passes(pool)
    await asyncio.gather(*(look(bench) for _ in range(8)))
    (text,) = await told(pool)
    assert "no worker runs" in text
    await passes(pool)
    await look(bench)
    assert len(await told(pool)) == 1
    assert await overdue.next_due(pool, DEADLINE) is None


async def test_what_is_being_ended_is_not_told(bench: Bench, pool: Pool) -> None:
    item, held, turn = await begin(bench)
    await passes(pool)
    async with pool.acquire() as db, db.transaction():
        await turns.end(db, item, held, turn, PLACE, Ending("done", (Message("assistant", "."), 1)))
        async with asyncio.timeout(5):
            await look(bench)
    await look(bench)
    assert not await told(pool)


async def test_the_cause_is_told_as_far_as_it_is_known(bench: Bench, pool: Pool) -> None:
    item, held, turn = await begin(bench)
    await passes(pool)
    await look(bench)
    assert "the model `m` is slow" in (await told(pool))[-1]
    asked = (Message("assistant", calls=(ToolCall("c", "peek"),)), 3)
    await sessions.append(pool, held, turn.session_id, turn.id, asked, model="m", usage=Usage())
    await bench.says("and more")
    await passes(pool)
    await look(bench)
    assert "one message is to be worked on before it" in (await told(pool))[-1]
    await pool.execute("update inbox set watched_at = null where id = $1", item.id)
    await look(bench)
    assert "the tool `peek` is still running" in (await told(pool))[-1]
    await pool.execute("delete from procrastinate_jobs")
    await pool.execute("update inbox set watched_at = null where id = $1", item.id)
    await look(bench)
    assert "nobody has taken it up" in (await told(pool))[-1]
    assert await pool.fetchval(
        "select exists (select from procrastinate_jobs where lock = $1)", LANE
    )


async def test_a_fetched_file_and_a_second_attempt_are_told_as_such(
    bench: Bench, pool: Pool
) -> None:
    await bench.arrives("message", LANE, {"msgtype": "m.file", "body": "a", "url": "mxc://hs/a"})
    found = await lease(pool)
    assert found
    await inbox.claim(pool, LANE, found[1])
    await passes(pool)
    await look(bench)
    assert "attached to it is still being fetched" in (await told(pool))[-1]
    await pool.execute("delete from inbox")
    await pool.execute("delete from procrastinate_jobs")
    item, _, _ = await begin(bench)
    await pool.execute("update inbox set attempts = '{1,2,3}' where id = $1", item.id)
    await passes(pool)
    await look(bench)
    assert "stopped in the middle (2 times by now)" in (await told(pool))[-1]


async def test_a_clock_that_goes_back_keeps_nobody_waiting(bench: Bench, pool: Pool) -> None:
    await bench.says("hello")
    await passes(pool, -7200)
    await look(bench)
    assert not await told(pool)
    due = await overdue.next_due(pool, DEADLINE)
    assert due is not None and due <= DEADLINE, "from now on, and not in two hours"
    await passes(pool)
    await look(bench)
    assert len(await told(pool)) == 1


@pytest.mark.parametrize("gone", ["members", "agent"])
async def test_where_nobody_is_nothing_is_said(bench: Bench, pool: Pool, gone: str) -> None:
    await bench.says("hello")
    await passes(pool)
    if gone == "members":
        await pool.execute("delete from members where user_id = $1", MAIN)
    else:
        await pool.execute("update agents set state = 'leaving'")
    await look(bench)
    assert not await told(pool)
    due = await overdue.next_due(pool, DEADLINE)
    assert due is not None and due > DEADLINE - 60, "it is not looked at again at once"


async def test_while_the_homeserver_is_away_nothing_is_piled_up_for_it(
    bench: Bench, pool: Pool
) -> None:
    item, held, turn = await begin(bench)
    await bench.says("and more")
    ending = Ending("done", (Message("assistant", "."), 1), words=[Outgoing("Yes.")])
    await turns.end(pool, item, held, turn, PLACE, ending)
    await passes(pool)
    await look(bench)
    assert not await told(pool), "its worker is still delivering"
    await outbox.sent(pool, await pool.fetchval("select id from outbox"), ["$out"])
    await passes(pool)
    await look(bench)
    assert len(await told(pool)) == 1


async def test_an_agent_that_is_asked_counts_until_its_own_end(bench: Bench, pool: Pool) -> None:
    item, _, _ = await begin(bench)
    row = await pool.fetchrow(
        "insert into messages (session_id, turn_id, role) select session_id, id, 'assistant'"
        " from turns returning id, session_id"
    )
    await pool.execute("update turns set state = 'parked'")
    await pool.execute("delete from procrastinate_jobs")
    await pool.execute(
        """
        insert into consultations (turn_id, message_id, call_id, caller, asked, root_id, chain,
            question, outside, expires_at)
        values ($1, $2, 'c', 'memtrix', 'memtrix', $1, '{}', '', '', now() + interval '1 h')
        """,
        item.id,
        row["id"],
    )
    await passes(pool)
    await look(bench)
    assert not await told(pool)
    await pool.execute("update consultations set state = 'failed'")
    await passes(pool)
    await look(bench)
    assert len(await told(pool)) == 1


async def test_while_nothing_waits_the_database_is_hardly_asked(bench: Bench) -> None:
    asked: list[str] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            return getattr(bench.pool, name)

    limits = replace(bench.means.config.limits, answer_deadline=60.0)
    config = replace(bench.means.config, limits=limits)
    watch = Watch(replace(bench.means, pool=Counting(), config=config))
    watch.start()
    await asyncio.sleep(silence.RECOVERY + 3 * silence.SOONEST)
    await watch.stop()
    assert len(asked) == 2, "two queries a minute"


async def failed_turn(bench: Bench) -> str:
    """A message whose turn has failed; its event."""
    item, held, turn = await begin(bench)
    ending = Ending("failed", (Message("assistant", "(no)"), 1), error="no")
    await turns.end(bench.pool, item, held, turn, PLACE, ending)
    await bench.pool.execute("delete from procrastinate_jobs")
    return str(item.event_id)


async def click(pool: Pool, event_id: str) -> int:
    async with pool.acquire() as db, db.transaction():
        found = await retries.failed(db, ROOM, event_id)
        for tried in found:
            await retries.again(db, tried)
        return len(found)


async def test_clicks_at_once_try_it_once(bench: Bench, pool: Pool) -> None:
    event_id = await failed_turn(bench)
    async with pool.acquire() as db, db.transaction():
        (tried,) = await retries.failed(db, ROOM, event_id)
        others = [asyncio.create_task(click(pool, event_id)) for _ in range(4)]
        await asyncio.sleep(0.5)
        await retries.again(db, tried)
    assert await asyncio.gather(*others) == [0, 0, 0, 0], "they waited, and looked only then"
    assert await bench.work() == 1
    assert [row.text for row in bench.room.sent] == ["Done."]
    assert await click(pool, event_id) == 0, "it is answered"


async def test_nothing_is_tried_again_of_who_is_gone_or_where_we_are_not(
    bench: Bench, pool: Pool
) -> None:
    event_id = await failed_turn(bench)
    await pool.execute("update agents set state = 'leaving'")
    assert await click(pool, event_id) == 0
    await pool.execute("update agents set state = 'active'")
    await pool.execute("delete from members where user_id = $1", MAIN)
    assert await click(pool, event_id) == 0
    await pool.execute("insert into members values ($1, $2, null)", ROOM, MAIN)
    assert await click(pool, event_id) == 1


async def test_what_was_answered_before_a_restore_is_not_tried_again(
    bench: Bench, pool: Pool
) -> None:
    """The room has its answer, and only we do not know of it."""
    event_id = await failed_turn(bench)
    await pool.execute("update inbox set error = $1", ANSWERED)
    assert await click(pool, event_id) == 0
    await pool.execute("update inbox set error = 'no'")
    assert await click(pool, event_id) == 1


async def test_several_events_that_were_one_turn_are_one_again(bench: Bench, pool: Pool) -> None:
    first = await bench.says("look")
    second = await bench.says("at this")
    found = await lease(pool)
    assert found
    item = await inbox.claim(pool, LANE, found[1])
    assert item
    ids = await pool.fetch("select id, event_id from inbox order by id")
    said = [Said(r["id"], r["event_id"], Message("user", r["event_id"]), 1) for r in ids]
    turn = await turns.begin(pool, item, ANN, None, said)
    await turns.end(pool, item, found[1], turn, PLACE, Ending("failed", error="no"))
    await pool.execute("delete from procrastinate_jobs")
    counts = await asyncio.gather(click(pool, first), click(pool, second))
    assert sum(counts) == 1
    rows = await pool.fetch("select event_id from inbox where retry = 1 order by id")
    assert [row["event_id"] for row in rows] == [first, second]


async def test_work_in_the_background_sees_who_waits(bench: Bench, pool: Pool) -> None:
    assert not await overdue.waits(pool, ["m"])
    _, _, turn = await begin(bench)
    assert await overdue.waits(pool, ["m"]) and not await overdue.waits(pool, ["other"])
    draft = await outbox.draft(pool, LANE, PLACE, turn.id, "It", None)
    assert draft
    await outbox.sent(pool, draft, ["$draft"])
    assert not await overdue.waits(pool, ["m"]), "the model has come to it"
