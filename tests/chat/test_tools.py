"""The loop through a real tool, and what happens when a model uses tools badly."""

import re

from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage

pytestmark = only("direct")


def results(model: ScriptedModel, request: int = -1) -> list[str]:
    """The tool results that a request carried."""
    return [m["content"] for m in model.requests[request].messages if m["role"] == "tool"]


async def test_a_tool_is_called_and_its_result_used(chat: Chat, model: ScriptedModel) -> None:
    model.calls("get_current_time")
    model.says("It is noon.")
    assert await chat.ask("what time is it?") == "It is noon."
    assert "get_current_time" in str(model.requests[0].tools)
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d", results(model)[0])
    call = model.requests[1].messages[-2]["tool_calls"][0]
    assert call["id"] == model.requests[1].messages[-1]["tool_call_id"]
    assert not chat.notices(), "tools are shown with /verbose only"


async def test_words_before_a_call_are_not_lost(chat: Chat, model: ScriptedModel) -> None:
    model.calls("get_current_time", text="Let me look.")
    model.says("It is noon.")
    await chat.send("what time is it?")
    await chat.until(lambda: "It is noon." in "".join(chat.replies()), "the answer")
    assert "Let me look." in "".join(chat.replies())


async def test_an_unknown_tool_is_explained_to_the_model(chat: Chat, model: ScriptedModel) -> None:
    model.calls("open_the_door", which="front")
    model.says("I cannot do that.")
    assert await chat.ask("open the door") == "I cannot do that."
    assert "open_the_door" in results(model)[0] and "get_current_time" in results(model)[0]


async def test_wrong_arguments_are_explained_to_the_model(chat: Chat, model: ScriptedModel) -> None:
    model.calls("get_current_time", planet="Mars")
    model.says("Never mind.")
    assert await chat.ask("time on Mars?") == "Never mind."
    assert "planet" in results(model)[0]


async def test_broken_json_is_explained_to_the_model(chat: Chat, model: ScriptedModel) -> None:
    model.calls("get_current_time", arguments='{"planet": "Ma')
    model.says("Never mind.")
    assert await chat.ask("time on Mars?") == "Never mind."
    assert "get_current_time" in results(model)[0]


async def test_two_calls_in_one_message(chat: Chat, model: ScriptedModel) -> None:
    model.calls("get_current_time", "get_current_time")
    model.says("Twice noon.")
    assert await chat.ask("time, twice") == "Twice noon."
    assert len(results(model)) == 2


async def test_after_ten_rounds_there_is_an_answer(chat: Chat, model: ScriptedModel) -> None:
    for _ in range(10):
        model.calls("get_current_time")
    model.says("I have looked often enough.")
    assert await chat.ask("look at the clock") == "I have looked often enough."
    assert len(model.requests) == 11
    assert model.requests[9].tools and not model.requests[10].tools


async def test_a_model_without_tools_still_chats(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    stopped.set("models.test-model.tools", False)
    await stopped.start()
    chat = await stage.chat()
    model.says("Hello.")
    assert await chat.ask("hi") == "Hello."
    assert not model.requests[0].tools


async def test_a_long_conversation_is_condensed_and_goes_on(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    stopped.set("models.test-model.context", 2048)
    stopped.set("models.test-model.tools", False)  # what tools say of themselves would fill it
    await stopped.start()
    chat = await stage.chat()
    await chat.send("the number is 4711")
    model.says("Noted.")
    await chat.reply()
    model.by_default("A summary, or an answer, with many words in it. " * 12)
    for n in range(12):
        await chat.send(f"question {n}: " + "and some more words " * 15)
        await chat.reply()
    assert "condensed" in await chat.notice()
    sizes = [sum(len(str(m["content"])) for m in r.messages) for r in model.requests]
    assert max(sizes) < 2048 * 4, "the prompt is kept within the model's context"
    last = [r for r in model.requests if r.last_user.startswith("question")][-1].messages
    assert last[-1]["content"].startswith("question 11")
    assert not [m for m in last if m["role"] == "tool"]
