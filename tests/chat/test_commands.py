"""What a human types with / or !: commands, and what only looks like one."""

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.stage import Stage

pytestmark = only("direct")


@pytest.mark.parametrize("sign", ["/", "!"])
async def test_help_names_every_command(chat: Chat, model: ScriptedModel, sign: str) -> None:
    await chat.send(f"{sign}help")
    text = await chat.notice()
    for name in ("help", "clear", "verbose", "reasoning", "stop", "status"):
        assert f"/{name}" in text
    assert not model.requests


@pytest.mark.parametrize(
    "text",
    ["/etc/hosts is what?", "/usr", "!important: read this", "/ hello", "/helpme", "// comment"],
)
async def test_what_only_looks_like_a_command_reaches_the_model(
    chat: Chat, model: ScriptedModel, text: str
) -> None:
    model.says("A file of names.")
    assert await chat.ask(text) == "A file of names."
    assert model.requests[0].messages[-1]["content"] == text


@pytest.mark.parametrize("sign", ["/", "!"])
async def test_clear_begins_afresh(chat: Chat, model: ScriptedModel, sign: str) -> None:
    model.says("Noted.", "Who knows.")
    await chat.ask("I am Ann.")
    await chat.send(f"{sign}clear")
    assert "fresh" in (await chat.notice()).lower()
    assert await chat.ask("Who am I?") == "Who knows."
    roles = [m["role"] for m in model.requests[1].messages]
    assert roles == ["system", "user"], "what it remembers of Ann is another thing"


async def test_clear_keeps_its_place_in_the_queue(chat: Chat, model: ScriptedModel) -> None:
    model.hold()
    model.says("One.", "Two.")
    await chat.send("first")
    await model.asked(1)
    await chat.says("/clear", "second")
    model.release()
    assert [await chat.reply(), await chat.reply()] == ["One.", "Two."]
    assert "first" not in str(model.requests[1].messages[1:])


async def test_verbose_shows_tools_and_persists(
    chat: Chat, stage: Stage, model: ScriptedModel
) -> None:
    await chat.send("/verbose on")
    await chat.notice()
    other = await stage.chat(chat.human)
    model.calls("get_current_time")
    model.says("It is noon.")
    assert await other.ask("time?") == "It is noon."
    assert "get_current_time" in await other.notice()
    await other.send("/verbose off")
    await other.until(lambda: [n for n in other.notices() if "not" in n], "the confirmation")
    model.calls("get_current_time")
    model.says("It is one.")
    before = len(chat.notices())
    assert await chat.ask("time?") == "It is one."
    assert len(chat.notices()) == before


async def test_reasoning_is_shown_only_when_wanted(chat: Chat, model: ScriptedModel) -> None:
    model.says("Four.", reasoning="two and two are four")
    assert await chat.ask("2+2?") == "Four."
    assert not chat.notices()
    await chat.send("/reasoning on")
    await chat.notice()
    model.says("Six.", reasoning="three and three are six")
    assert await chat.ask("3+3?") == "Six."
    assert "three and three are six" in await chat.notice()
    await chat.send("!reasoning off")
    await chat.notice()
    model.says("Eight.", reasoning="four and four are eight")
    assert await chat.ask("4+4?") == "Eight."
    assert "eight" not in str(chat.notices())
    assert "three and three" not in str(model.requests[-1].messages), "thoughts are not sent back"


@pytest.mark.parametrize("text", ["/verbose", "/verbose maybe", "/reasoning", "/reasoning 1"])
async def test_a_switch_without_a_direction_says_how(
    chat: Chat, model: ScriptedModel, text: str
) -> None:
    await chat.send(text)
    assert "on" in await chat.notice()
    assert not model.requests


async def test_status_says_what_is_going_on(chat: Chat, model: ScriptedModel) -> None:
    model.says("Hello.")
    await chat.ask("hi")
    await chat.send("/status")
    text = await chat.notice()
    assert "test-model" in text and "2 messages" in text


async def test_status_and_help_overtake_a_running_turn(chat: Chat, model: ScriptedModel) -> None:
    model.hold()
    model.says("At last.")
    await chat.send("think hard")
    await model.asked(1)
    await chat.says("/status", "/help")
    assert "test-model" in await chat.notice()
    assert "/clear" in await chat.notice()
    assert not chat.replies()
    model.release()
    assert await chat.reply() == "At last."


async def test_stop_ends_a_running_turn(chat: Chat, model: ScriptedModel) -> None:
    model.hold()
    model.says("Never seen.")
    await chat.send("think for ever")
    await model.asked(1)
    await chat.send("/stop")
    assert "stop" in (await chat.notice()).lower()
    model.release()
    model.forget()
    model.says("Here.")
    assert await chat.ask("still there?") == "Here."
    assert chat.replies() == ["Here."]


async def test_stop_in_the_middle_of_a_stream_keeps_what_was_said(
    chat: Chat, model: ScriptedModel
) -> None:
    model.says(["Once upon ", "a time"], hold=True)
    await chat.send("a story")
    assert await chat.draft()
    await chat.send("!stop")
    await chat.notice()
    await chat.until(lambda: all(said.final for said in chat.said()), "the draft to be closed")
    assert "Once upon" in chat.replies()[0]
    model.release()
    model.forget()
    model.says("Here.")
    await chat.send("still there?")
    await chat.until(lambda: "Here." in chat.replies(), "the next answer")


async def test_stop_with_a_queue_goes_on_with_the_next(chat: Chat, model: ScriptedModel) -> None:
    model.hold()
    await chat.send("first")
    await model.asked(1)
    model.by_default("The answer.")
    await chat.says("second", "/stop")
    await chat.notice()
    model.release()
    assert await chat.reply() == "The answer."
    assert model.requests[-1].last_user == "second"
    assert chat.replies() == ["The answer."]


async def test_stop_with_nothing_to_stop(chat: Chat) -> None:
    await chat.send("/stop")
    assert "nothing" in (await chat.notice()).lower()


async def test_leave(chat: Chat, model: ScriptedModel) -> None:
    """Who invites with Element's preset makes the agent a creator, whom nobody can kick."""
    await chat.send("/leave")
    assert "Goodbye" in await chat.notice()
    await chat.sees_member(chat.agent, "leave")
    await chat.send("still there?")
    await chat.human.invite(chat.room, chat.agent)
    await chat.sees_member(chat.agent)
    model.says("I am back.")
    assert await chat.ask("hello?") == "I am back."
