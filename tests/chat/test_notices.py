"""What is shown of an agent's work: in a thread at the message, and only to who asked for it."""

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.asking import question
from tests.rig.bell import Bells
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Process, Service
from tests.rig.stage import Stage
from tests.rig.timeline import Answer

pytestmark = only("direct")


def shown(chat: Chat) -> list[Answer]:
    return [s for s in chat.said() if s.msgtype == "m.notice" and s.text[0] in "✓✗💭"]


@pytest.fixture
async def talk(chat: Chat) -> Chat:
    """A chat with an agent that shows all."""
    for what in ("verbose", "reasoning"):
        await chat.send(f"/{what} on")
        await question(chat, "From now on")
    return chat


async def test_the_room_shows_question_and_answer_and_the_thread_the_rest(
    talk: Chat, model: ScriptedModel
) -> None:
    for number in range(9):
        model.calls("get_current_time", reasoning=f"I look, {number}")
    model.calls("read_file", path="none.txt", reasoning="and there")
    model.says("Done.", reasoning="Enough.")
    asked = await talk.send("look around")
    assert await talk.reply() == "Done."
    told = shown(talk)
    assert [t.text[0] for t in told] == [*"💭✓" * 9, *"💭✗", "💭"]
    assert {t.thread for t in told} == {asked}
    here = [s for s in talk.said() if s.thread is None and "From now on" not in s.text]
    assert [s.text for s in here] == ["Done."]
    failed = told[-2]
    assert "read_file" in failed.text and "none.txt" in failed.text and " s" in failed.text
    assert "<code>read_file</code>" in failed.html


async def test_in_a_thread_they_stand_in_that_thread(talk: Chat, model: ScriptedModel) -> None:
    model.says("Hello.")
    root = await talk.send("hello")
    await talk.reply()
    model.calls("get_current_time")
    model.says("Noon.")
    await talk.send("time?", thread=root)
    await talk.until(lambda: "Noon." in talk.replies(), "the answer")
    assert [t.thread for t in shown(talk)] == [root]


async def test_a_thread_of_notices_is_not_one_that_it_has_spoken_in(
    service: Service, stage: Stage, model: ScriptedModel
) -> None:
    del service
    ann, ben = await stage.group(humans=2)
    await ann.send("Memtrix: /verbose on")
    await question(ann, "From now on")
    model.calls("get_current_time")
    model.says("Noon.")
    asked = await ann.send("Memtrix: time?")
    assert "Noon." in await ann.reply()
    await ben.send("what a fuss", thread=asked)
    model.says("Still noon.")
    await ann.send("Memtrix: and now?")
    await ann.until(lambda: any("Still noon." in r for r in ann.replies()), "the answer")
    assert len(model.requests) == 3, "Ben spoke to nobody"


async def test_a_question_stays_where_everybody_sees_it(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    Bells(stopped)
    await stopped.start()
    chat = await stage.chat()
    await chat.send("/verbose on")
    await question(chat, "From now on")
    model.calls("ring", bell="gong")
    asked = await chat.send("ring")
    asking = await question(chat)
    assert asking.thread is None
    model.says("Dong.")
    await chat.send("yes")
    assert await chat.reply() == "Dong."
    (told,) = shown(chat)
    assert told.thread == asked and "The gong rang" in told.text


async def test_a_crash_tells_nothing_twice(
    process: Process, stage: Stage, model: ScriptedModel
) -> None:
    chat = await stage.chat()
    await chat.send("/verbose on")
    await question(chat, "From now on")
    model.calls("get_current_time")
    model.on(lambda request: any(m["role"] == "tool" for m in request.messages)).says(
        "Noon.", hold=True
    )
    await chat.send("time?")
    await model.wait_for_requests(2)
    await process.kill9()
    model.release()
    model.on(lambda request: any(m["role"] == "tool" for m in request.messages)).says("Noon.")
    await process.start()
    assert await chat.reply() == "Noon."
    assert len(shown(chat)) == 1
