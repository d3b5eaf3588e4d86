"""kill -9 at the worst moments: exactly one answer, and nothing forgotten."""

import asyncio

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.door import Call, Door
from tests.rig.modes import only
from tests.rig.service import Process
from tests.rig.stage import Stage


@pytest.fixture
async def talk(process: Process, stage: Stage) -> Chat:
    """Like `chat`, with the service as a process that can be killed."""
    return await stage.chat()


def final(call: Call) -> bool:
    """A finished answer on its way to the homeserver."""
    if not call.matches(r"^PUT .*/send/m\.room\.message/"):
        return False
    return "io.memtrix.draft" not in str(call.json)


async def fence(talk: Chat, model: ScriptedModel, *before: str) -> None:
    """One more exchange, after which nothing else can come; all that was said is as expected."""
    model.says("And that is all.")
    assert await talk.ask("anything else?") == "And that is all."
    assert talk.replies() == [*before, "And that is all."]


async def test_killed_while_the_model_is_called(
    talk: Chat, process: Process, model: ScriptedModel
) -> None:
    model.hold()
    await talk.send("think hard")
    await model.asked(1)
    await process.kill9()
    model.release()
    model.forget()
    model.says("The answer.")
    await process.start()
    assert await talk.reply() == "The answer."
    await fence(talk, model, "The answer.")


async def test_killed_between_reply_stored_and_sent(
    talk: Chat, process: Process, door: Door, model: ScriptedModel
) -> None:
    model.says("The answer.")
    held = door.hold(final)
    await talk.send("a question")
    await door.catches(held)
    await process.kill9()
    held.drop()
    door.heal()
    await process.start()
    assert await talk.reply() == "The answer."
    await fence(talk, model, "The answer.")
    assert len(model.requests) == 2, "the stored answer is sent, the model is not asked again"


async def test_killed_between_sent_and_confirmed(
    talk: Chat, process: Process, door: Door, model: ScriptedModel
) -> None:
    """The homeserver has the answer, and we died before we heard of it."""
    model.says("The answer.")
    held = door.hold(final, answers=True)
    await talk.send("a question")
    await door.catches(held)
    await process.kill9()
    held.drop()
    door.heal()
    await process.start()
    assert await talk.reply() == "The answer."
    await fence(talk, model, "The answer.")


@only("direct")
async def test_killed_before_confirmed_and_the_homeserver_forgets(
    talk: Chat, process: Process, stage: Stage, door: Door, model: ScriptedModel
) -> None:
    """Synapse keeps the transaction ids of application services in memory only."""
    model.says("The answer.")
    held = door.hold(final, answers=True)
    await talk.send("a question")
    await door.catches(held)
    await process.kill9()
    held.drop()
    door.heal()
    await stage.homeserver.restart()
    await process.start()
    assert await talk.reply() == "The answer."
    await fence(talk, model, "The answer.")


async def test_killed_in_the_middle_of_a_long_answer(
    talk: Chat, process: Process, door: Door, model: ScriptedModel
) -> None:
    paragraphs = [f"Paragraph {n}. " + "It goes on and on. " * 40 for n in range(100)]
    model.says("\n\n".join(paragraphs))
    held = door.hold(lambda call: final(call) and call.path.endswith(".2"), answers=True)
    await talk.send("at length, please")
    await door.catches(held)
    await process.kill9()
    held.drop()
    door.heal()
    await process.start()
    await talk.until(lambda: any("Paragraph 99." in r for r in talk.replies()), "the end of it")
    model.says("And that is all.")
    await talk.send("anything else?")
    await talk.until(lambda: "And that is all." in talk.replies(), "the next answer")
    whole = "\n\n".join(talk.replies()[:-1])
    assert [line.strip() for line in whole.split("\n\n")] == [p.strip() for p in paragraphs]


async def test_killed_in_the_middle_of_a_stream(
    talk: Chat, process: Process, model: ScriptedModel
) -> None:
    model.says(["This is ", "half an ", "ans"], hold=True)
    await talk.send("a long story")
    assert await talk.draft()
    await process.kill9()
    model.release()
    model.forget()
    model.says("This is a whole answer.")
    await process.start()
    assert await talk.reply() == "This is a whole answer."
    await fence(talk, model, "This is a whole answer.")
    assert all(said.final for said in talk.said())


@only("direct")
async def test_killed_between_tool_and_answer(
    talk: Chat, process: Process, model: ScriptedModel
) -> None:
    model.calls("get_current_time")
    model.says("cut", hold=True)
    await talk.send("what time is it?")
    await model.asked(2)
    await process.kill9()
    model.release()
    model.forget()
    model.says("It is late.")
    await process.start()
    assert await talk.reply() == "It is late."
    results = [m for m in model.requests[-1].messages if m["role"] == "tool"]
    assert len(results) == 1, "the tool's result was stored, and is not asked for again"


async def test_messages_sent_while_down_are_answered_once_each_in_order(
    talk: Chat, process: Process, model: ScriptedModel
) -> None:
    model.says("Hello.")
    assert await talk.ask("hi") == "Hello."
    questions = [f"question {n}" for n in range(6)]
    answers = [f"answer {n}" for n in range(6)]
    model.says(*answers)
    for half in (questions[:3], questions[3:]):  # twice: what was seen once may be cached
        await process.kill9()
        await talk.says(*half)
        await process.start()
        assert [await talk.reply() for _ in half] == [q.replace("question", "answer") for q in half]
    assert [request.last_user for request in model.requests[1:]] == questions
    await fence(talk, model, "Hello.", *answers)


async def test_an_invite_sent_while_down_is_accepted(
    talk: Chat, process: Process, model: ScriptedModel
) -> None:
    await process.kill9()
    room = await talk.human.create_room(talk.agent)
    await process.start()
    await talk.human.sees_member(room, talk.agent)
    model.says("Better late.")
    assert await Chat(talk.human, room, talk.agent).ask("hi") == "Better late."


@only("direct")
async def test_sigterm_ends_it_cleanly_and_loses_nothing(
    talk: Chat, process: Process, model: ScriptedModel
) -> None:
    model.hold()
    await talk.send("think hard")
    await model.asked(1)
    async with asyncio.timeout(15):
        assert await process.terminate() == 0
    model.release()
    model.forget()
    model.says("The answer.")
    await process.start()
    assert await talk.reply() == "The answer."
    assert "Traceback" not in process.text()


@only("direct")
async def test_killed_again_and_again(talk: Chat, process: Process, model: ScriptedModel) -> None:
    for round_ in range(2):
        model.hold()
        if round_ == 0:
            await talk.send("think hard")
        await model.asked(1)
        await process.kill9()
        model.release()
        model.forget()
        if round_ == 1:
            model.says("The answer.")
        else:
            model.hold()
        await process.start()
    assert await talk.reply() == "The answer."
    await fence(talk, model, "The answer.")
