"""A model that fails is told in one plain sentence, and the next message works."""

import re

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage

pytestmark = only("direct")


def plain(text: str, *words: str) -> None:
    """One sentence or two that a person understands, with one of these words in it."""
    assert len(text) < 400 and "\n" not in text.strip()
    assert not re.search(r"Traceback|Exception|File \"|k-test", text), text
    assert any(word in text.lower() for word in words), text


async def the_next_message_works(chat: Chat, model: ScriptedModel) -> None:
    model.says("All is well again.")
    assert await chat.ask("and now?") == "All is well again."
    assert len(chat.notices()) == 1, "one sentence, once"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, ("key", "refuse", "accept", "denied", "unauthorized")),
        (402, ("credit", "quota", "pay", "balance")),
        (404, ("model", "not")),
        (429, ("many", "quota", "limit", "busy", "credit")),
        (500, ("fail", "broke", "error", "wrong")),
        (503, ("fail", "broke", "error", "wrong", "busy", "unavailable")),
    ],
)
async def test_a_refusing_provider(
    chat: Chat, model: ScriptedModel, status: int, words: tuple[str, ...]
) -> None:
    for _ in range(8):  # what is worth repeating is repeated, and fails again
        model.fails(status)
    await chat.send("hello?")
    plain(await chat.notice(timeout=60), *words)
    await chat.human.sees_no_typing(chat.room, chat.agent)
    model.forget()
    await the_next_message_works(chat, model)


async def test_a_model_that_is_down(chat: Chat, model: ScriptedModel) -> None:
    await model.stop()
    await chat.send("hello?")
    plain(await chat.notice(timeout=60), "reach", "answer", "connect", "running", "down")
    await model.start()
    await the_next_message_works(chat, model)


async def test_a_model_that_takes_too_long(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    stopped.set("limits.turn_timeout", 1.0)
    await stopped.start()
    chat = await stage.chat()
    model.hold()
    await chat.send("hello?")
    plain(await chat.notice(), "second", "time", "long")
    model.release()
    model.forget()
    await the_next_message_works(chat, model)


async def test_an_empty_answer(chat: Chat, model: ScriptedModel) -> None:
    for _ in range(4):
        model.says("")
    await chat.send("hello?")
    plain(await chat.notice(), "empty", "nothing", "no answer", "without")
    model.forget()
    await the_next_message_works(chat, model)


async def test_a_stream_that_breaks_before_any_text(chat: Chat, model: ScriptedModel) -> None:
    for _ in range(8):
        model.breaks()
    await chat.send("hello?")
    plain(await chat.notice(timeout=60), "broke", "cut", "ended", "middle", "fail")
    model.forget()
    await the_next_message_works(chat, model)


async def test_a_stream_that_breaks_in_the_middle(chat: Chat, model: ScriptedModel) -> None:
    for _ in range(8):
        model.breaks("Once upon a time there was")
    await chat.send("a story")
    plain(await chat.notice(timeout=60), "broke", "cut", "ended", "middle", "fail")
    assert all(said.final for said in chat.said()), "no draft is left behind"
    if chat.replies():  # what had come may stay in the room
        assert (await chat.reply()).startswith("Once upon a time")
    model.forget()
    await the_next_message_works(chat, model)


async def test_one_hiccup_is_not_worth_a_word(chat: Chat, model: ScriptedModel) -> None:
    model.fails(503)
    model.says("It went well.")
    assert await chat.ask("hello?") == "It went well."
    assert chat.notices() == []


async def test_a_failed_turn_is_part_of_the_history(chat: Chat, model: ScriptedModel) -> None:
    model.fails(401)
    await chat.send("my name is Ann")
    await chat.notice()
    model.says("You are Ann.")
    assert await chat.ask("who am I?") == "You are Ann."
    roles = [m["role"] for m in model.requests[-1].messages if m["role"] != "system"]
    assert roles[-1] == "user" and "Ann" in str(model.requests[-1].messages)
