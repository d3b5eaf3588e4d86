"""Questions among agents against the real database: what many at once, crashes and ends do."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from memtrix_as.db.pool import Pool, connect
from memtrix_as.messages import Message, ToolCall
from tests.rig.database import Database
from tests.rig.household import Household


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await connect(database.dsn)
    yield pool
    pool.terminate()


def ask(*names: str) -> Message:
    calls = (ToolCall(f"c{n}", "ask_agent", {"name": name, "message": f"Question {n}"})
             for n, name in enumerate(names))  # fmt: skip
    return Message("assistant", calls=tuple(calls))


def first(messages: Sequence[Message]) -> bool:
    return messages[-1].role == "user"


async def test_more_answers_at_once_than_there_are_connections(pool: Pool, tmp_path: Path) -> None:
    names = [f"agent{n}" for n in range(30)]

    def says(agent: str, messages: Sequence[Message]) -> Message:
        if agent == "memtrix" and first(messages):
            return ask(*names)
        return Message("assistant", "All have answered." if agent == "memtrix" else "So it is.")

    house = Household(pool, tmp_path, says)
    await house.move_in(*names)
    await house.says("ask them all")
    async with asyncio.timeout(30):
        await house.work_at_once()
    assert [row.text for row in house.room.sent] == ["All have answered."]


async def test_forty_questions_are_enough_for_one_message_however_they_come(
    pool: Pool, tmp_path: Path
) -> None:
    def says(agent: str, messages: Sequence[Message]) -> Message:
        if agent == "memtrix" and first(messages):
            return ask(*["dennis"] * 60)
        return Message("assistant", "Done.")

    house = Household(pool, tmp_path, says)
    await house.move_in("dennis")
    await house.says("ask and ask")
    await house.work()
    assert await pool.fetchval("select count(*) from consultations") == 40
    told = [m.text for m in house.minds.read[-1][1] if m.role == "tool"]
    assert sum("40 questions among agents are enough" in text for text in told) == 20
