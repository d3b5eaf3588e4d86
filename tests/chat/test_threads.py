"""Threads are kept, and what is replied to reaches the model."""

from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.modes import only


async def test_an_answer_stays_in_the_thread(chat: Chat, model: ScriptedModel) -> None:
    model.says("In the room.", "In the thread.", "In the room again.")
    root = await chat.send("a topic")
    assert await chat.reply() == "In the room."
    await chat.send("more of it", thread=root)
    answer = await chat.answer()
    assert (answer.text, answer.thread) == ("In the thread.", root)
    await chat.send("back in the room")
    answer = await chat.answer()
    assert (answer.text, answer.thread) == ("In the room again.", None)


@only("direct")
async def test_a_streamed_answer_in_a_thread(chat: Chat, model: ScriptedModel) -> None:
    model.says("Root.", [f"word{n} " for n in range(12)], delay=0.1)
    root = await chat.send("a topic")
    await chat.reply()
    await chat.send("at length, please", thread=root)
    answer = await chat.answer()
    assert answer.thread == root and answer.edits
    for edit in answer.edits:
        assert edit["content"]["m.relates_to"]["rel_type"] == "m.replace"
        assert "m.relates_to" not in edit["content"]["m.new_content"]


@only("direct")
async def test_notices_stay_in_the_thread_too(chat: Chat, model: ScriptedModel) -> None:
    model.says("Root.")
    root = await chat.send("a topic")
    await chat.reply()
    await chat.send("/status", thread=root)
    await chat.notice()
    notice = next(said for said in chat.said() if said.msgtype == "m.notice")
    assert notice.thread == root


@only("direct")
async def test_what_is_replied_to_reaches_the_model(chat: Chat, model: ScriptedModel) -> None:
    model.says("The capital of Peru is Lima.", "Ten million.", "And so on.")
    await chat.send("capital of Peru?")
    first = await chat.answer()
    await chat.ask("something else")
    await chat.send("how many live there?", reply_to=first.event_id)
    assert await chat.reply() == "And so on."
    asked = str(model.requests[-1].messages[-1]["content"])
    assert "capital of Peru is Lima" in asked and "how many live there?" in asked


@only("direct")
async def test_a_reply_to_ones_own_message_quotes_it(chat: Chat, model: ScriptedModel) -> None:
    model.says("Noted.", "Eggs.")
    event_id = await chat.send("buy eggs on Friday")
    await chat.reply()
    await chat.send("what was this?", reply_to=event_id)
    assert await chat.reply() == "Eggs."
    assert "buy eggs on Friday" in str(model.requests[-1].messages[-1]["content"])


@only("direct")
async def test_the_quote_of_old_clients_is_not_repeated(chat: Chat, model: ScriptedModel) -> None:
    model.says("Lima.", "Ten million.")
    await chat.send("capital of Peru?")
    first = await chat.answer()
    body = f"> <{chat.agent}> Lima.\n\nhow many live there?"
    await chat.send(body, reply_to=first.event_id)
    await chat.reply()
    assert str(model.requests[-1].messages[-1]["content"]).count("Lima") == 1
