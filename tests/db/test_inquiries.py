"""Questions in the middle of a call as rows: who is asked, what counts, and when nothing does."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memtrix_as.agent import inquiry
from memtrix_as.db import agents, queue
from memtrix_as.db.agents import Agent
from memtrix_as.db.pool import Pool, connect
from memtrix_as.messages import ToolCall
from memtrix_as.tool import Human, Tool, ToolContext, tool
from tests.rig.bench import LANE, MAIN, Bench, Model
from tests.rig.database import Database
from tests.rig.waiting import eventually

ASKS = (ToolCall("a", "asks", {"what": "Now?"}),)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await connect(database.dsn)
    await agents.keep_main(pool, Agent("memtrix", MAIN, "Memtrix", True, "m", False, False))
    yield pool
    await pool.close()


class Asker:
    """Tools that ask: what they heard, in the order in which they heard it."""

    def __init__(self, *, repeatable: bool = False, depth: int = 0) -> None:
        self.heard: list[bool] = []
        self.runs = 0
        asker = self

        @tool(repeatable=repeatable)
        async def asks(ctx: ToolContext, what: str) -> str:
            """Ask.

            Args:
                what: the question; where it has a #, that is the number of the run
            """
            asker.runs += 1
            question = what.replace("#", str(asker.runs))
            said = await ctx.get(Human).agrees(replace(ctx, depth=depth), question)
            asker.heard.append(said)
            return str(said)

        self.tools: dict[str, Tool] = {"asks": asks}


async def bench(
    pool: Pool, folder: Path, asker: Asker, calls: tuple[ToolCall, ...] = ASKS
) -> Bench:
    made = Bench(pool, folder, Model(calls), asker.tools)
    await made.open()
    return made


async def asked(at: Bench, count: int = 1) -> list[int]:
    """The open questions, once there are so many."""

    async def found() -> list[int] | None:
        rows = await at.open_questions()
        return rows if len(rows) == count else None

    return await eventually(found, "the question")


@pytest.mark.parametrize("word", ["yes", "no"])
async def test_the_bell_tells_of_the_answer(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setattr(inquiry, "LOOK", 60.0)
    asker = Asker()
    at = await bench(pool, tmp_path, asker)
    await at.says("ask me")
    work = asyncio.create_task(at.work())
    (question,) = await asked(at)
    await at.answers(question, word)
    await at.work()
    assert not asker.heard
    at.means.answers.ring()
    await asyncio.wait_for(work, 10)
    assert asker.heard == [word == "yes"]


async def test_without_the_bell_it_is_looked_for(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inquiry, "LOOK", 0.05)
    asker = Asker()
    at = await bench(pool, tmp_path, asker)
    await at.says("ask me")
    work = asyncio.create_task(at.work())
    await asked(at)
    await at.time_passes()
    await asyncio.wait_for(work, 10)
    assert asker.heard == [False]


@pytest.mark.parametrize(("sender", "depth"), [(MAIN, 0), ("", 0), ("@ann:hs.test", 1)])
async def test_where_no_human_takes_part_it_is_a_no(
    pool: Pool, tmp_path: Path, sender: str, depth: int
) -> None:
    asker = Asker(depth=depth)
    at = await bench(pool, tmp_path, asker)
    await at.arrives("message", LANE, {"msgtype": "m.text", "body": "ask"}, sender=sender)
    await asyncio.wait_for(at.work(), 10)
    assert asker.heard == [False]
    assert not await pool.fetchval("select count(*) from approvals")


async def test_two_calls_at_once_ask_one_question_each(pool: Pool, tmp_path: Path) -> None:
    asker = Asker()
    calls = tuple(ToolCall(c, "asks", {"what": c}) for c in "ab")
    at = await bench(pool, tmp_path, asker, calls)
    await at.says("ask me")
    work = asyncio.create_task(at.work())
    await asked(at, 2)
    ids = {r["call_id"]: r["id"] for r in await pool.fetch("select call_id, id from approvals")}
    await at.answers(ids["b"], "yes")
    await at.answers(ids["a"], "no")
    await at.work()
    at.means.answers.ring()
    await asyncio.wait_for(work, 10)
    assert sorted(asker.heard) == [False, True]
    rows = await pool.fetch("select call_id, ordinal, state from approvals order by call_id")
    assert [tuple(row) for row in rows] == [("a", 1, "denied"), ("b", 1, "approved")]


async def die(pool: Pool) -> None:
    """The process that works on a lane is gone; its lock is not held in these tests anyway."""
    await queue.recover(pool)


@pytest.mark.parametrize(("what", "heard"), [("Now?", [True]), ("Run #?", [False])])
async def test_only_the_same_question_is_answered_after_a_crash(
    pool: Pool, tmp_path: Path, what: str, heard: list[bool]
) -> None:
    """A yes to one question is none to another."""
    asker = Asker(repeatable=True)
    at = await bench(pool, tmp_path, asker, (ToolCall("a", "asks", {"what": what}),))
    await at.says("ask me")
    work = asyncio.create_task(at.work())
    (question,) = await asked(at)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    await at.answers(question, "yes")
    await die(pool)
    await asyncio.wait_for(asyncio.gather(at.work(), at.work()), 10)
    assert asker.heard == heard and asker.runs == 2
    assert await pool.fetchval("select count(*) from approvals") == 1


async def test_whoever_lost_the_turn_hears_nothing(pool: Pool, tmp_path: Path) -> None:
    """Another worker has taken the turn: the yes is not for us, the call has been reported."""
    asker = Asker()
    at = await bench(pool, tmp_path, asker)
    await at.says("ask me")
    lost = asyncio.create_task(at.work())
    (question,) = await asked(at)
    await die(pool)
    await at.work()
    state: Any = await pool.fetchval("select state from approvals where id = $1", question)
    assert state == "withdrawn"
    at.means.answers.ring()
    await asyncio.wait_for(lost, 10)
    assert not asker.heard and asker.runs == 1
    texts = await pool.fetch("select text from messages where role = 'tool'")
    assert ["interrupted" in row["text"] for row in texts] == [True]
