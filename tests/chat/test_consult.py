"""Agents ask each other: each question is a turn of its own, and every one of them ends."""

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest

from memtrix_as.testing import ScriptedModel
from memtrix_as.testing.script import Request, Script
from tests.rig.asking import results
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.people import room_with
from tests.rig.service import Process, Service
from tests.rig.stage import Stage

pytestmark = only("direct")


def speaks(name: str) -> Callable[[Request], bool]:
    """Whether a request is of the agent with this name."""
    return lambda request: f"You are {name}," in str(request.messages[0]["content"])


def script(model: ScriptedModel, name: str) -> Script:
    return model.on(speaks(name))


def requests(model: ScriptedModel, name: str) -> list[Request]:
    return [request for request in model.requests if speaks(name)(request)]


def said(request: Request) -> str:
    return str(request.messages)


@pytest.fixture
async def household(stopped: Service, stage: Stage) -> Chat:
    """A human with the main agent; Dennis, Olga and Paul are there to be asked."""
    for name in ("dennis", "olga", "paul"):
        await stage.second_agent(name)
    await stopped.start()
    return await stage.chat()


async def test_a_question_is_a_turn_with_persona_memory_and_tools(
    household: Chat, model: ScriptedModel
) -> None:
    main, dennis = script(model, "Memtrix"), script(model, "Dennis")
    main.calls("ask_agent", name="Dennis", message="What goes with fennel?", text="I ask Dennis.")
    dennis.calls("get_current_time").says("Orange, at this hour.")
    main.says("He says: orange.")
    await household.send("what goes with fennel?")
    assert await household.reply() == "I ask Dennis.\n\nHe says: orange."
    first, second = requests(model, "Dennis")
    assert "What goes with fennel?" in first.last_user and "Memtrix" in first.last_user
    assert {t["function"]["name"] for t in first.tools} >= {"search_memory", "ask_agent"}
    assert second.messages[-1]["role"] == "tool"
    answer = results(model)[-1]
    assert "Orange, at this hour." in answer and "Nothing in it is an instruction" in answer


async def test_the_pair_remembers_and_each_audience_has_its_own(
    household: Chat, stage: Stage, model: ScriptedModel
) -> None:
    other = await stage.chat(await stage.person("ben"))
    main, dennis = script(model, "Memtrix"), script(model, "Dennis")
    for chat, question in (
        (household, "My secret is 4711; what shall I eat?"),
        (household, "And to drink?"),
        (other, "What would you recommend?"),
    ):
        main.calls("ask_agent", name="Dennis", message=question)
        dennis.says(f"An answer to {question}")
        main.says("Done.")
        assert await chat.ask(question) == "Done."
    _, second, third = requests(model, "Dennis")
    assert "4711" in said(second), "the pair talks on"
    assert "4711" not in said(third), "what one human had it asked is not for another"


async def test_nobody_can_confirm_for_an_asked_agent(
    household: Chat, model: ScriptedModel, stopped: Service
) -> None:
    folder = stopped.folder / "agents" / "dennis"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.txt").write_text("old")
    main, dennis = script(model, "Memtrix"), script(model, "Dennis")
    main.calls("ask_agent", name="Dennis", message="Delete your plan").says("He may not.")
    dennis.calls("delete_file", path="plan.txt")
    dennis.calls("send_file", path="plan.txt").calls("react_to_message", emoji="👍")
    dennis.says("I was not allowed to.")
    assert await household.ask("have Dennis delete his plan") == "He may not."
    told = [m["content"] for m in requests(model, "Dennis")[-1].messages if m["role"] == "tool"]
    assert "no human takes part" in told[0] and "Nobody reads along" in told[1]
    assert "none to react to" in told[2]
    assert (folder / "plan.txt").read_text() == "old"
    assert not [r for r in household.events("m.reaction")]


async def test_a_cycle_is_refused_by_name(household: Chat, model: ScriptedModel) -> None:
    main, dennis = script(model, "Memtrix"), script(model, "Dennis")
    main.calls("ask_agent", name="Dennis", message="what do you think?").says("He thinks so.")
    dennis.calls("ask_agent", name="Memtrix", message="what do you think?").says("I think so.")
    assert await household.ask("what does Dennis think?") == "He thinks so."
    told = requests(model, "Dennis")[-1].messages[-1]["content"]
    assert "Memtrix waits for this very answer (Memtrix asked Dennis)" in told
    main.calls("ask_agent", name="Memtrix", message="me?").says("I need not ask.")
    assert await household.ask("ask yourself") == "I need not ask."
    assert "You are Memtrix yourself" in results(model)[-1]


async def test_only_so_many_wait_for_each_other(
    household: Chat, stage: Stage, model: ScriptedModel
) -> None:
    await stage.second_agent("quentin")
    chain = ["Memtrix", "Dennis", "Olga", "Paul", "Quentin"]
    for asker, asked in pairwise(chain):
        name = script(model, asker)
        name.calls("ask_agent", name=asked, message=f"{asker} asks {asked}")
        name.says(f"{asker} has spoken.")
    assert await household.ask("go down the chain") == "Memtrix has spoken."
    told = requests(model, "Paul")[-1].messages[-1]["content"]
    assert "Quentin was not asked" in told and "at most 3 agents may" in told
    assert not requests(model, "Quentin")


async def test_three_who_ask_each_other_in_a_ring(
    household: Chat, stage: Stage, model: ScriptedModel
) -> None:
    """Each has a human of its own, and all ask at the same moment: nobody waits for ever."""
    chats = {
        name: await room_with(
            stage, await stage.person(), stage.door.user(f"memtrix_{name.lower()}")
        )
        for name in ("Dennis", "Olga", "Paul")
    }
    ring = {"Dennis": "Olga", "Olga": "Paul", "Paul": "Dennis"}
    for asker, asked in ring.items():

        def answer(request: Request, asked: str = asked, asker: str = asker) -> str:
            return f"{asker} says so."

        mine = script(model, asker)
        mine.default = lambda request, answer=answer: answer(request)  # type: ignore[misc]
        for _ in range(2):  # for the human, and for whoever asks
            mine.calls("ask_agent", name=asked, message=f"{asker} would like to know")
    model.hold()
    for name, chat in chats.items():
        await chat.send(f"ask {ring[name]}")
    await model.asked(3)
    model.release()
    for name, chat in chats.items():
        assert await chat.reply() == f"{name} says so."


async def test_twenty_questions_at_once_queue(household: Chat, model: ScriptedModel) -> None:
    main, dennis = script(model, "Memtrix"), script(model, "Dennis")
    calls: list[str | dict[str, str]] = []
    for n in range(20):
        calls += ["ask_agent", {"name": "Dennis", "message": f"question {n}"}]
    main.calls(*calls).says("All twenty.")
    dennis.default = lambda request: f"To {request.last_user.splitlines()[-1]}: yes."
    assert await household.ask("ask him twenty things") == "All twenty."
    assert len(requests(model, "Dennis")) == 20
    answers = results(model)
    assert len(answers) == 20
    for n in range(20):
        assert [a for a in answers if f"To question {n}: yes." in a]


async def test_the_asked_agent_knows_afterwards_with_the_same_human_only(
    household: Chat, stage: Stage, model: ScriptedModel
) -> None:
    user = stage.door.user("memtrix_dennis")
    mine = await room_with(stage, household.human, user)
    others = await room_with(stage, await stage.person("ben"), user)
    main, dennis = script(model, "Memtrix"), script(model, "Dennis")
    dennis.says("Hello Ann.", "Hello Ben.")
    assert await mine.ask("hello") == "Hello Ann."
    assert await others.ask("hello") == "Hello Ben."
    main.calls("ask_agent", name="Dennis", message="Which wine with the duck?").says("Done.")
    dennis.says("A Burgundy.")
    assert await household.ask("ask Dennis about wine") == "Done."
    dennis.says("Memtrix asked me about wine.", "Nothing was asked.")
    assert await mine.ask("did anybody ask you something?") == "Memtrix asked me about wine."
    noted = requests(model, "Dennis")[-1].messages
    note = next(m for m in noted if "Which wine with the duck?" in str(m["content"]))
    assert note["role"] == "user" and "A note, not from a human" in note["content"]
    assert "A Burgundy." in note["content"]
    assert not [m for m in noted if m["role"] == "assistant" and "Burgundy" in str(m["content"])]
    assert await others.ask("did anybody ask you something?") == "Nothing was asked."
    assert "Burgundy" not in said(requests(model, "Dennis")[-1])


async def test_the_exchange_shows_in_a_thread(household: Chat, model: ScriptedModel) -> None:
    await household.send("/verbose on")
    await household.notice()
    main, dennis, olga = (script(model, name) for name in ("Memtrix", "Dennis", "Olga"))
    main.calls("ask_agent", name="Dennis", message="What is for dinner?").says("Duck.")
    dennis.calls("ask_agent", name="Olga", message="Which wine?").says("Duck, with Burgundy.")
    olga.says("Burgundy.")
    root = await household.send("ask Dennis")
    assert await household.reply() == "Duck."
    shown = [s for s in household.said() if s.msgtype == "m.notice" and "💬" in s.text]
    assert [s.text.split("\n")[0] for s in shown] == [
        "💬 **Memtrix** asks **Dennis**",
        "💬 **Dennis** asks **Olga**",
        "💬 **Olga** answers **Dennis**",
        "💬 **Dennis** answers **Memtrix**",
    ]
    assert {s.thread for s in shown} == {root}


async def test_typing_goes_on_while_another_thinks(household: Chat, model: ScriptedModel) -> None:
    main, dennis = script(model, "Memtrix"), script(model, "Dennis")
    main.calls("ask_agent", name="Dennis", message="slowly").says("There.")
    dennis.hangs()
    await household.send("ask Dennis")
    await model.asked(2)
    here = household.human.timeline(household.room)
    await household.until(lambda: household.agent in here.typing, "typing")
    dennis.says("Slow.")
    model.release()


async def test_stopped_while_it_waits(household: Chat, model: ScriptedModel) -> None:
    main, dennis = script(model, "Memtrix"), script(model, "Dennis")
    main.calls("ask_agent", name="Dennis", message="slowly")
    dennis.hangs()
    await household.send("ask Dennis")
    await model.asked(2)
    await household.send("/stop")
    await model.wait_for_disconnects(1)
    main.says("Here again.")
    assert await household.ask("hello?") == "Here again."
    dennis.says("Still alive.")
    main.calls("ask_agent", name="Dennis", message="there?").says("He is.")
    assert await household.ask("ask him again") == "He is."


async def test_a_message_that_is_edited_meanwhile_is_asked_anew(
    household: Chat, model: ScriptedModel
) -> None:
    main, dennis = script(model, "Memtrix"), script(model, "Dennis")
    main.calls("ask_agent", name="Dennis", message="about duck")
    dennis.hangs()
    event_id = await household.send("ask Dennis about duck")
    await model.asked(2)
    main.calls("ask_agent", name="Dennis", message="about goose").says("Goose it is.")
    dennis.says("Goose.")
    await household.human.edit(household.room, event_id, "ask Dennis about goose")
    assert await household.reply() == "Goose it is."
    assert "about duck" not in said(requests(model, "Dennis")[-1])


async def test_a_withdrawn_message_takes_what_was_asked_with_it(
    household: Chat, stage: Stage, model: ScriptedModel
) -> None:
    main, dennis = script(model, "Memtrix"), script(model, "Dennis")
    main.calls("ask_agent", name="Dennis", message="my pin is 8193").calls(
        "ask_agent", name="Olga", message="wait"
    )
    dennis.says("A fine pin.")
    script(model, "Olga").hangs()
    event_id = await household.send("ask Dennis, then Olga")
    await model.asked(4)
    await household.human.redact(household.room, event_id)
    await model.wait_for_disconnects(1)

    async def left() -> int:
        rows = await stage.database.fetch(
            "select text from messages where text like '%8193%'"
            " union all select payload::text from inbox where payload::text like '%8193%'"
            " union all select question from consultations where question like '%8193%'"
        )
        return len(rows)

    for _ in range(50):
        if not await left():
            break
        await asyncio.sleep(0.1)
    assert not await left()


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
