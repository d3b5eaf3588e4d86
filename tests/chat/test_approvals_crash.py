"""kill -9 around a question: it is asked once, its answer counts, and the call runs once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.asking import asked, ended, question
from tests.rig.bell import Bells
from tests.rig.chat import Chat
from tests.rig.door import Call, Door
from tests.rig.modes import only
from tests.rig.service import Process
from tests.rig.stage import Stage


@pytest.fixture
async def process(stage: Stage, model: ScriptedModel, tmp_path: Path) -> AsyncIterator[Process]:
    """The service as its own process, with bells; it can be killed."""
    process = Process(tmp_path, stage.door, stage.database.dsn, model.url)
    Bells(process)
    await stage.door.lead_to(process.url)
    await process.start()
    yield process
    await process.stop()


@pytest.fixture
async def bells(process: Process) -> Bells:
    return Bells(process)


@pytest.fixture
async def talk(process: Process, stage: Stage) -> Chat:
    return await stage.chat()


def questions(talk: Chat) -> list[str]:
    return [said.event_id for said in talk.said() if said.text.startswith("❓")]


async def test_killed_while_it_waits(
    talk: Chat, process: Process, bells: Bells, model: ScriptedModel
) -> None:
    asking = await asked(talk, model)
    await process.kill9()
    await process.start()
    await talk.send("and then?")
    model.says("Dong.", "Then silence.")
    await talk.human.react(talk.room, asking.event_id, "✅")
    assert [await talk.reply(), await talk.reply()] == ["Dong.", "Then silence."]
    assert bells.rung == ["gong"]
    assert questions(talk) == [asking.event_id]
    assert len(model.requests) == 3


async def test_answered_while_nobody_was_there(
    talk: Chat, process: Process, bells: Bells, model: ScriptedModel
) -> None:
    asking = await asked(talk, model)
    await process.kill9()
    await talk.human.react(talk.room, asking.event_id, "❌")
    model.says("As you like.")
    await process.start()
    assert await talk.reply() == "As you like."
    await ended(talk, "Denied")
    assert not bells.rung


@only("direct")
async def test_expired_while_nobody_was_there(
    talk: Chat, process: Process, bells: Bells, model: ScriptedModel
) -> None:
    await process.stop()
    process.set("limits.approval_timeout", 2)
    await process.start()
    await asked(talk, model)
    await process.kill9()
    await asyncio.sleep(2)
    model.says("Nobody was there.")
    await process.start()
    assert await talk.reply() == "Nobody was there."
    await ended(talk, "Expired")
    assert not bells.rung


def asks(call: Call) -> bool:
    """The question itself on its way, not what later shows how it ended."""
    if not call.matches(r"^PUT .*/send/m\.room\.message/") or "m.new_content" in call.json:
        return False
    return "asks for permission" in str(call.json)


@only("direct")
@pytest.mark.parametrize("answers", [False, True], ids=["before", "after"])
async def test_killed_while_it_asks(
    talk: Chat, process: Process, door: Door, bells: Bells, model: ScriptedModel, answers: bool
) -> None:
    """Before the homeserver has the question, and before we know that it has."""
    held = door.hold(asks, answers=answers)
    model.calls("ring", bell="gong")
    await talk.send("ring it")
    await door.catches(held)
    await process.kill9()
    held.drop()
    door.heal()
    await process.start()
    asking = await question(talk)
    model.says("Dong.")
    await talk.human.react(talk.room, asking.event_id, "✅")
    assert await talk.reply() == "Dong."
    assert bells.rung == ["gong"]
    assert len(questions(talk)) == 1


@only("direct")
async def test_answered_before_we_know_that_it_was_asked(
    talk: Chat, door: Door, bells: Bells, model: ScriptedModel
) -> None:
    """The homeserver has the question and has not told us yet; the human is quicker."""
    held = door.hold(asks, answers=True)
    model.calls("ring", bell="gong")
    await talk.send("ring it")
    await door.catches(held)
    asking = await question(talk)
    model.says("Dong.")
    await talk.human.react(talk.room, asking.event_id, "✅")
    await ended(talk, "Approved")
    held.release()
    assert await talk.reply() == "Dong."
    assert bells.rung == ["gong"]


@only("direct")
async def test_killed_right_after_the_yes(
    talk: Chat, process: Process, bells: Bells, model: ScriptedModel
) -> None:
    """The approved call has run, its result is stored or not; it never runs once more."""
    asking = await asked(talk, model)
    model.hold()
    await talk.human.react(talk.room, asking.event_id, "✅")
    await model.asked(2)
    await process.kill9()
    model.release()
    model.forget()
    model.says("Dong.")
    await process.start()
    assert await talk.reply() == "Dong."
    assert bells.rung == ["gong"]


@only("direct")
async def test_two_workers_run_it_once(
    talk: Chat,
    process: Process,
    stage: Stage,
    bells: Bells,
    model: ScriptedModel,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("second")
    second = Process(folder, stage.door, stage.database.dsn, model.url)
    second.set("tools.directories", process.settings["tools"]["directories"])
    await second.start()
    try:
        for number in range(4):
            model.calls("ring", bell=f"bell{number}")
            await talk.send("ring it")
            asking = await question(talk, f"bell{number}")
            model.says(f"Rung {number}.")
            await talk.human.react(talk.room, asking.event_id, "✅")
            await talk.send("yes", reply_to=asking.event_id)
            assert await talk.reply() == f"Rung {number}."
    finally:
        await second.stop()
    assert bells.rung == [f"bell{number}" for number in range(4)]
