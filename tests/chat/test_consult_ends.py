"""However a question among agents ends, its caller is told and goes on."""

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.asking import results
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.people import script
from tests.rig.service import Process, Service
from tests.rig.stage import Stage

pytestmark = only("direct")


async def test_an_asked_agent_that_fails_or_is_late(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    await stage.second_agent("dennis")
    stopped.set("limits.consult_timeout", 2)
    await stopped.start()
    chat = await stage.chat()
    main, dennis = script(model, "Memtrix"), script(model, "Dennis")
    dennis.fails(401)
    main.calls("ask_agent", name="Dennis", message="broken").says("He is ill.")
    assert await chat.ask("ask Dennis") == "He is ill."
    assert "Dennis gave no answer." in results(model)[-1]
    dennis.hangs()
    main.calls("ask_agent", name="Dennis", message="slow").says("He is slow.")
    assert await chat.ask("ask Dennis") == "He is slow."
    assert "no answer within 2 seconds" in results(model)[-1]
    await model.wait_for_disconnects(1)


async def test_nobody_of_that_name(household: Chat, model: ScriptedModel) -> None:
    main = script(model, "Memtrix")
    main.calls("ask_agent", name="Denis", message="hello").says("Who?")
    assert await household.ask("ask Denis") == "Who?"
    assert "There is no agent 'Denis'. Did you mean Dennis?" in results(model)[-1]


@pytest.mark.parametrize("step", ["asked", "answered"])
async def test_killed_in_between(
    process: Process, stage: Stage, model: ScriptedModel, step: str
) -> None:
    await stage.second_agent("dennis")
    await process.stop()
    await process.start()
    chat = await stage.chat()
    main, dennis = script(model, "Memtrix"), script(model, "Dennis")
    main.calls("ask_agent", name="Dennis", message="the question")
    if step == "asked":
        dennis.hangs()
        await chat.send("ask Dennis")
        await model.asked(2)
    else:
        dennis.says("The answer.")
        main.hangs()
        await chat.send("ask Dennis")
        await model.asked(3)
    await process.kill9()
    if step == "asked":
        dennis.says("The answer.")
    main.says("He says: the answer.")
    await process.start()
    assert await chat.reply() == "He says: the answer."
    assert "The answer." in results(model)[-1]
    rows = await stage.database.fetch("select from consultations")
    assert len(rows) == 1


async def test_deleted_while_being_asked(
    household: Chat, stage: Stage, model: ScriptedModel
) -> None:
    other = await stage.chat(await stage.person("ben"))
    made = "update agents set created_by = $1 where name = 'dennis'"
    await stage.database.fetch(made, other.human.user_id)
    main, dennis = script(model, "Memtrix"), script(model, "Dennis")
    dennis.hangs()
    main.calls("ask_agent", name="Dennis", message="slowly")
    await household.send("ask Dennis")
    await model.asked(2)
    main.calls("delete_agent", name="Dennis")
    await other.send("delete Dennis")
    await other.until(lambda: other.notices(), "the question")
    main.says("He is gone before he could answer.", "He is gone.")
    await other.send("yes")
    answers = {await household.reply(), await other.reply()}
    assert answers == {"He is gone before he could answer.", "He is gone."}
    told = [r for r in results(model, -1) + results(model, -2) if "removed meanwhile" in r]
    assert told
