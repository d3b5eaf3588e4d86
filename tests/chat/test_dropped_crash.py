"""A restart while a tool waits for an answer: the call is cut, or goes on if it may be repeated."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.asking import ended, notice, question, results
from tests.rig.chat import Chat
from tests.rig.docks import Docks
from tests.rig.dropped import drop
from tests.rig.modes import only
from tests.rig.service import Process
from tests.rig.stage import Stage
from tests.rig.waiting import until

pytestmark = only("direct")
SLEEPS = """
import time
from memtrix_as.tool import BaseTool
from .ships import wrote


class Sleeps(BaseTool):
    def __init__(self):
        super().__init__("sleeps", "Sleeps.")

    def execute(self):
        wrote("asleep")
        time.sleep(600)
"""


@pytest.fixture
async def process(stage: Stage, model: ScriptedModel, tmp_path: Path) -> AsyncIterator[Process]:
    """The service as its own process, with docks; it can be killed."""
    process = Process(tmp_path, stage.door, stage.database.dsn, model.url)
    Docks(process)
    await stage.door.lead_to(process.url)
    await process.start()
    yield process
    await process.stop()


@pytest.fixture
async def docks(process: Process) -> Docks:
    return Docks(process)


@pytest.fixture
async def talk(process: Process, stage: Stage) -> Chat:
    return await stage.chat()


async def end(process: Process, how: str) -> None:
    if how == "killed":
        await process.kill9()
    else:
        assert await process.terminate() == 0


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_call_that_waited_is_reported_as_interrupted(
    talk: Chat, process: Process, docks: Docks, model: ScriptedModel, how: str
) -> None:
    model.calls("dock", ship="Ada")
    await talk.send("dock Ada")
    asking = await question(talk, "Ada")
    await end(process, how)
    model.says("I do not know how far she got.")
    await process.start()
    assert await talk.reply() == "I do not know how far she got."
    assert "interrupted" in results(model)[0]
    await ended(talk, "the call that asked has ended", "Ada")
    await talk.human.react(talk.room, asking.event_id, "✅")
    await notice(talk, "closed before")
    assert docks.log == ["tug for Ada"]


@pytest.mark.parametrize("how", ["killed", "stopped"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_one_that_may_be_repeated_finds_its_answers(
    talk: Chat, process: Process, docks: Docks, model: ScriptedModel, how: str, when: str
) -> None:
    """The first was given before, the second after the restart, or while nobody was there."""
    model.calls("anchor", ship="Ada", times=2)
    await talk.send("anchor Ada")
    await question(talk, "Ada anchor, 0")
    await talk.send("yes")
    asking = await question(talk, "Ada anchor, 1")
    await end(process, how)
    model.says("She lies still.")
    if when == "before":
        await talk.human.react(talk.room, asking.event_id, "✅")
        await process.start()
    else:
        await process.start()
        await talk.human.react(talk.room, asking.event_id, "✅")
    assert await talk.reply() == "She lies still."
    assert results(model) == ["Ada: yes, yes"]
    assert docks.log == ["sounding for Ada", "sounding for Ada", "Ada anchored"]
    assert len([said for said in talk.said() if said.text.startswith("❓")]) == 2


async def test_a_tool_that_hangs_holds_up_no_stop(
    talk: Chat, process: Process, docks: Docks, model: ScriptedModel
) -> None:
    drop(docks.folder, "sleeps.py", SLEEPS)
    await process.stop()
    await process.start()
    model.calls("sleeps")
    await talk.send("sleep")
    await until(lambda: docks.log == ["asleep"], "it to sleep")
    assert await asyncio.wait_for(process.terminate(), 10) == 0


async def test_answered_at_another_worker(
    talk: Chat,
    process: Process,
    stage: Stage,
    docks: Docks,
    model: ScriptedModel,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Two processes: whichever takes the answer in, the one that waits hears of it."""
    second = Process(tmp_path_factory.mktemp("second"), stage.door, stage.database.dsn, model.url)
    second.set("tools.directories", process.settings["tools"]["directories"])
    await second.start()
    try:
        for ship in ("Ada", "Bea", "Cleo", "Dora"):
            model.calls("dock", ship=ship)
            await talk.send(f"dock {ship}")
            asking = await question(talk, ship)
            model.says(f"{ship} is in.")
            await talk.human.react(talk.room, asking.event_id, "✅")
            assert await talk.reply(timeout=4) == f"{ship} is in."
    finally:
        await second.stop()
    assert len(docks.log) == 8
