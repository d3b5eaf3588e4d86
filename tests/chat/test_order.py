"""One turn at a time in a room, in order; all rooms at once."""

import asyncio

from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage


async def test_two_quick_messages_get_two_answers_in_order(
    chat: Chat, model: ScriptedModel
) -> None:
    model.says("The first answer.", after=0.3)
    model.says("The second answer.")
    await chat.says("first question", "second question")
    assert await chat.reply() == "The first answer."
    assert await chat.reply() == "The second answer."
    asked = [request.messages[-1]["content"] for request in model.requests]
    assert asked == ["first question", "second question"]
    assert "second question" not in str(model.requests[0].messages)
    assert "The first answer." in str(model.requests[1].messages)


async def test_ten_quick_messages_keep_their_order(chat: Chat, model: ScriptedModel) -> None:
    for n in range(10):
        model.says(f"answer {n}")
    await chat.says(*(f"question {n}" for n in range(10)))
    assert [await chat.reply() for _ in range(10)] == [f"answer {n}" for n in range(10)]
    asked = [request.messages[-1]["content"] for request in model.requests]
    assert asked == [f"question {n}" for n in range(10)]


@only("direct")
async def test_fifty_rooms_are_answered_at_once(
    service: Service, stage: Stage, model: ScriptedModel
) -> None:
    human = await stage.person()
    chats = await asyncio.gather(*(stage.chat(human) for _ in range(50)))
    model.hold()
    model.by_default("an answer")
    await asyncio.gather(*(chat.send(f"room {n}") for n, chat in enumerate(chats)))
    await model.asked(50, timeout=60)
    assert model.open == 50, "all of them stand at the model at the same time"
    model.release()
    assert await asyncio.gather(*(chat.reply() for chat in chats)) == ["an answer"] * 50
    asked = sorted(request.messages[-1]["content"] for request in model.requests)
    assert asked == sorted(f"room {n}" for n in range(50))


@only("direct")
async def test_a_slow_room_does_not_hold_up_another(
    chat: Chat, stage: Stage, model: ScriptedModel
) -> None:
    other = await stage.chat()
    model.says("The slow one.", hold=True)
    await chat.send("slow")
    await model.asked(1)
    model.says("The quick one.")
    assert await other.ask("quick") == "The quick one."
    assert not chat.replies()
    model.release()
    assert await chat.reply() == "The slow one."
