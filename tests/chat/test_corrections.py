"""A human edits or withdraws a message: before, while and after it is answered."""

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage

pytestmark = only("conduit")


def asked(model: ScriptedModel) -> list[str]:
    """What each request asked last."""
    return [str(request.messages[-1]["content"]) for request in model.requests]


async def busy(chat: Chat, model: ScriptedModel) -> None:
    """Let the agent work on something, so that what follows has to wait."""
    model.hold()
    await chat.send("keep busy")
    await model.asked(1)


async def test_an_edit_before_the_answer_replaces_the_words(
    chat: Chat, model: ScriptedModel
) -> None:
    model.says("Busy no more.", "Berlin, then.")
    await busy(chat, model)
    event_id = await chat.send("book a train to Bern")
    await chat.edit(event_id, "book a train to Berlin")
    await chat.send("/status")
    await chat.notice()  # what overtakes turns has overtaken, the edit before it too
    model.release()
    assert await chat.reply() == "Busy no more."
    assert await chat.reply() == "Berlin, then."
    assert asked(model) == ["keep busy", "book a train to Berlin"]


async def test_an_edit_while_it_is_answered_restarts_the_turn(
    chat: Chat, model: ScriptedModel
) -> None:
    model.says("To Berlin.")  # the request that is given up takes no answer
    model.hold()
    event_id = await chat.send("book a train to Bern")
    await model.asked(1)
    await chat.edit(event_id, "book a train to Berlin")
    await model.asked(2)
    model.release()
    assert await chat.reply() == "To Berlin."
    assert "Bern'" not in str(model.requests[1].messages)
    model.says("The fence.")
    assert await chat.ask("ping") == "The fence."
    assert chat.replies() == ["To Berlin.", "The fence."]


async def test_an_edit_in_the_middle_of_a_stream_uses_the_same_message(
    chat: Chat, model: ScriptedModel
) -> None:
    model.says(["Going ", "to Bern "], hold=True)
    event_id = await chat.send("to Bern")
    assert await chat.draft()
    model.says("Going to Berlin.")
    await chat.edit(event_id, "to Berlin")
    assert await chat.reply() == "Going to Berlin."
    model.release()
    model.says("Yes.")
    assert await chat.ask("sure?") == "Yes."
    assert chat.replies() == ["Going to Berlin.", "Yes."]


async def test_an_edit_after_the_answer_asks_nothing_again(
    chat: Chat, model: ScriptedModel
) -> None:
    model.says("To Bern.")
    event_id = await chat.send("to Bern")
    assert await chat.reply() == "To Bern."
    await chat.edit(event_id, "to Berlin")
    model.says("The fence.")
    assert await chat.ask("ping") == "The fence."
    assert len(model.requests) == 2


async def test_a_message_withdrawn_in_time_is_not_answered(
    chat: Chat, model: ScriptedModel
) -> None:
    model.says("Busy no more.", "The fence.")
    await busy(chat, model)
    event_id = await chat.send("a secret")
    await chat.redact(event_id)
    await chat.send("/status")
    await chat.notice()
    model.release()
    assert await chat.reply() == "Busy no more."
    assert await chat.ask("ping") == "The fence."
    assert "secret" not in str([request.messages for request in model.requests])


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_message_withdrawn_while_it_is_answered(
    chat: Chat, model: ScriptedModel, streaming: bool
) -> None:
    if streaming:
        model.says(["Well, ", "your secret"], hold=True)
    else:
        model.hold()
    event_id = await chat.send("a secret")
    await (chat.draft() if streaming else model.asked(1))
    await chat.redact(event_id)
    await chat.until(
        lambda: not [s for s in chat.said() if s.msgtype == "m.text"] or None, "the draft to go"
    )
    await chat.send("/status")
    await chat.notice()
    model.release()
    model.forget()
    model.says("The fence.")
    assert await chat.ask("ping") == "The fence."
    assert chat.replies() == ["The fence."]
    assert "secret" not in str(model.requests[-1].messages)


@pytest.mark.parametrize("version", ["10", "12"])  # 11 moved what a redaction names
async def test_a_message_withdrawn_later_is_forgotten(
    service: Service, stage: Stage, model: ScriptedModel, version: str
) -> None:
    chat = await stage.chat(version=version)
    model.says("Noted.", "No idea.")
    event_id = await chat.send("my pin is 4711")
    assert await chat.reply() == "Noted."
    await chat.redact(event_id)
    await chat.send("/status")
    await chat.notice()
    assert await chat.ask("what is my pin?") == "No idea."
    assert "4711" not in str(model.requests[-1].messages)
