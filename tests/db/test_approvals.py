"""Questions as rows: parked turns cost nothing, and no two events at once cheat the human.

Whole histories of events, crashes and second workers are in test_interleavings.py.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from memtrix_as.agent import gate
from memtrix_as.db import agents, approvals, inbox, permissions, queue
from memtrix_as.db.agents import Agent
from memtrix_as.db.inbox import Arrival
from memtrix_as.db.pool import Pool, connect
from memtrix_as.messages import ToolCall
from memtrix_as.tool import Tool, ToolContext, tool
from tests.rig.bench import ANN, LANE, MAIN, ROOM, Bench, Model
from tests.rig.database import Database

CALLS = (ToolCall("a", "ring", {"bell": "gong"}), ToolCall("b", "ring", {"bell": "drum"}))


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await connect(database.dsn)
    await agents.keep_main(pool, Agent("memtrix", MAIN, "Memtrix", True, "m", False, False))
    yield pool
    await pool.close()


class Tower:
    """A tool that keeps what really ran, and what the database said of it right then."""

    def __init__(self, pool: Pool) -> None:
        self.rung: list[tuple[str, int]] = []  # bell, message that asked for it
        self.unheard: list[str] = []  # ran without a yes
        self.open = asyncio.Event()
        self.open.set()
        tower = self

        @tool(confirm=True)
        async def ring(ctx: ToolContext, bell: str) -> str:
            """Ring a bell.

            Args:
                bell: which one
            """
            found = await pool.fetch(
                "select message_id from approvals where turn_id = $1 and state = 'approved'"
                " and arguments->>'bell' = $2",
                ctx.turn_id,
                bell,
            )
            always = await permissions.given(pool, "memtrix", ROOM, "ring", wary=False)
            if not found and not always:
                tower.unheard.append(bell)
            tower.rung.append((bell, found[-1]["message_id"] if found else 0))
            await tower.open.wait()
            return f"The {bell} rang."

        self.tools: dict[str, Tool] = {"ring": ring}


async def bench(pool: Pool, folder: Path, calls: tuple[ToolCall, ...] = CALLS) -> Any:
    tower = Tower(pool)
    made = Bench(pool, folder, Model(calls), tower.tools)
    await made.open()
    return made, tower


async def state(pool: Pool) -> str:
    found: str = await pool.fetchval("select state from turns order by id desc limit 1")
    return found


async def test_a_parked_turn_holds_up_its_lane_and_nothing_else(pool: Pool, tmp_path: Path) -> None:
    at, tower = await bench(pool, tmp_path, CALLS[:1])
    await at.says("ring it")
    await at.says("and then?")
    await at.work()
    assert await state(pool) == "parked"
    await queue.recover(pool)
    assert await at.work() == 0, "nothing wakes a lane that waits for a human"
    (question,) = await at.open_questions()
    await at.answers(question, "yes")
    await at.work()
    assert [row.text for row in at.room.sent if row.kind == "text"] == ["Done."]
    assert [bell for bell, _ in tower.rung] == ["gong"]
    assert await state(pool) == "parked", "the second message's turn"
    (second,) = await at.open_questions()
    await at.answers(second, "no")
    await at.work()
    assert [row.text for row in at.room.sent if row.kind == "text"] == ["Done.", "Done."]
    assert len(tower.rung) == 1


async def test_a_thousand_open_questions_hold_no_task_and_no_connection(
    pool: Pool, tmp_path: Path
) -> None:
    at, _ = await bench(pool, tmp_path)
    raw = {"sender": ANN, "content": {}}
    rooms = [f"!room{number}" for number in range(1000)]
    await inbox.put(
        pool,
        [
            Arrival(inbox.turns("memtrix", r), "message", r, "memtrix", f"${r}", raw)
            for r in rooms
        ],
    )  # fmt: skip
    await pool.execute("delete from procrastinate_jobs")
    await pool.execute("insert into sessions (agent, room_id) select 'memtrix', room_id from inbox")
    await pool.execute(
        """
        insert into turns (id, session_id, event_id, sender, state)
        select i.id, s.id, i.event_id, $1, 'parked'
        from inbox i join sessions s using (room_id)
        """,
        ANN,
    )
    await pool.execute(
        """
        with q as (insert into outbox (lane, room_id, agent, kind, text, turn_id, sent_at)
            select lane, room_id, agent, 'notice', 'may I?', id, now() from inbox
            returning id, turn_id, room_id)
        insert into approvals (turn_id, call_id, agent, room_id, tool, arguments, question,
            question_id, asked, expires_at)
        select turn_id, 'c', 'memtrix', room_id, 'ring', '{}', 'may I?', id, $1,
            now() + interval '1 hour'
        from q
        """,
        ANN,
    )
    tasks = len(asyncio.all_tasks())
    at.expiry.start()
    try:
        await asyncio.sleep(0.3)
        await queue.recover(pool)
        assert await at.work() == 0
        assert await pool.fetchval("select count(*) from procrastinate_jobs") == 0
        assert len(asyncio.all_tasks()) == tasks + 1, "the one timer"
        assert pool.get_idle_size() == pool.get_size()
        due = await approvals.next_due(pool)
        assert due and 3500 < due < 3600
        await pool.execute("update approvals set expires_at = now()")
        await asyncio.gather(*(at.expiry.look() for _ in range(3)))  # of as many processes
        await at.expiry.look()
    finally:
        await at.expiry.stop()
    assert await at.open_questions() == []
    told = await pool.fetchval("select count(*) from outbox where replaces is not null")
    assert told == 1000, "each is told once"
    assert await pool.fetchval("select count(*) from turns where state = 'parked'") == 0
    assert await pool.fetchval("select count(*) from procrastinate_jobs") == 1000


async def test_an_answer_that_comes_while_the_turn_is_about_to_park(
    pool: Pool, tmp_path: Path
) -> None:
    """Recorded while the turn still ran, it must not be parked upon."""
    at, tower = await bench(pool, tmp_path, CALLS[:1])
    await at.says("ring it")
    # The answer is shown no more right before the question is asked, and right before parking.
    moments = iter(["asking", "parking"])

    async def finish() -> None:
        if next(moments, None) == "parking":
            (question,) = await at.open_questions()
            async with pool.acquire() as connection, connection.transaction():
                held = await approvals.hold(connection, question)
                assert held is not None
                await approvals.settle(connection, held, "approved", ANN, LANE, "yes")

    at.room.finish = finish
    await at.work()
    assert await state(pool) == "done"
    assert [bell for bell, _ in tower.rung] == ["gong"]


async def test_answered_at_the_same_moment(pool: Pool, tmp_path: Path) -> None:
    at, tower = await bench(pool, tmp_path, CALLS[:1])
    await at.says("ring it")
    await at.work()
    (question,) = await at.open_questions()
    for word in ("no", "yes", "yes"):
        await at.answers(question, word)
    await asyncio.gather(at.time_passes(), at.work(), at.work())
    await at.work()
    assert await state(pool) == "done"
    decided = await pool.fetchval("select state from approvals")
    assert decided in ("denied", "expired")
    assert not tower.rung


async def test_a_turn_without_a_human_is_refused_at_once(pool: Pool, tmp_path: Path) -> None:
    at, tower = await bench(pool, tmp_path, CALLS[:1])
    content = {"msgtype": "m.text", "body": "ring it"}
    await at.arrives("message", LANE, content, sender=MAIN)
    await at.work()
    assert await state(pool) == "done"
    assert not tower.rung and not await at.open_questions()
    told = await pool.fetchval("select text from messages where role = 'tool'")
    assert "no human takes part" in told


async def test_what_has_changed_since_the_yes_is_not_done(pool: Pool, tmp_path: Path) -> None:
    """The human agreed to lose one file; while the question waited, there came to be two."""
    lost: list[int] = []
    there = 1

    async def counts(ctx: ToolContext, arguments: Mapping[str, Any]) -> str | None:
        return f"It deletes {there} of {arguments['name']}." if there else None

    @tool(confirm_if=counts)
    async def drop(ctx: ToolContext, name: str) -> str:
        """Drop all of a name.

        Args:
            name: which
        """
        lost.append(there)
        return "Dropped."

    forged = "x\n\n➜ It deletes 2 of x\\."
    model = Model(())
    at = Bench(pool, tmp_path, model, {"drop": drop})
    await at.open()
    for name, then, word, done in (
        (forged, 2, "yes", []), ("x", 1, "yes", [1]), ("x", 0, "yes", [0]), ("x", 2, "always", [])
    ):  # fmt: skip
        there = 1
        lost.clear()
        model.calls = (ToolCall("c", "drop", {"name": name}),)
        await at.says("drop it")
        await at.work()
        (question,) = await at.open_questions()
        there = then
        await at.answers(question, word)
        await at.work()
        assert lost == done
        told = "select text from messages where role = 'tool' order by id desc limit 1"
        assert ("has changed since" in await pool.fetchval(told)) == (not done)
    assert await state(pool) == "done"


async def test_what_is_looked_at_is_what_will_run(pool: Pool, tmp_path: Path) -> None:
    """A model that says "true" in place of true must not slip past the look."""
    ran: list[bool] = []

    async def by_force(ctx: ToolContext, arguments: Mapping[str, Any]) -> str | None:
        return "By force?" if arguments["force"] is True else None

    @tool(confirm_if=by_force)
    async def open_door(ctx: ToolContext, force: bool) -> str:
        """Open the door.

        Args:
            force: with force
        """
        ran.append(force)
        return "Open."

    calls = [ToolCall(f"c{n}", "open_door", {"force": v}) for n, v in enumerate([True, "on", 1])]
    at = Bench(pool, tmp_path, Model(calls), {"open_door": open_door})
    await at.open()
    await at.says("open it")
    await at.work()
    assert len(await at.open_questions()) == 3 and not ran


async def test_a_model_cannot_flood_the_room_with_questions(pool: Pool, tmp_path: Path) -> None:
    calls = tuple(ToolCall(f"c{n}", "ring", {"bell": f"bell{n}"}) for n in range(100))
    at, tower = await bench(pool, tmp_path, calls)
    await at.says("ring them all")
    await at.work()
    open_ = await at.open_questions()
    assert len(open_) == gate.MOST_ASKED
    for question in open_:
        await at.answers(question, "no")
    await at.work()
    assert await state(pool) == "done"
    assert not tower.rung


async def test_an_answer_from_another_room_or_to_nothing_changes_nothing(
    pool: Pool, tmp_path: Path
) -> None:
    at, tower = await bench(pool, tmp_path, CALLS[:1])
    await at.says("ring it")
    await at.work()
    (question,) = await at.open_questions()
    await at.answers(question + 1, "yes")
    await at.answers(question, "yes", "@eve:evil.test")
    await at.work()
    assert await at.open_questions() == [question]
    assert not tower.rung
    told = [row.text for row in at.room.sent[-2:]]
    assert "no open question" in told[0] and "@eve:evil.test" in told[1]
