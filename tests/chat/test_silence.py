"""Nobody is left waiting: what takes too long is told once, and what failed is tried again."""

import asyncio
from pathlib import Path

import pytest

from memtrix_as.testing import Request, ScriptedModel
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Process, Service, Worker
from tests.rig.stage import Stage
from tests.rig.timeline import Answer
from tests.rig.waiting import eventually

pytestmark = only("direct")

STILL = "No answer to this yet"
AGAIN = "React with 🔁 to try again."


@pytest.fixture
async def hasty(stopped: Service) -> Service:
    """A service that tells after two seconds what takes long."""
    stopped.set("limits.answer_deadline", 2)
    await stopped.start()
    return stopped


async def told(chat: Chat, count: int = 1) -> list[str]:
    """The notices, once so many of them say that something takes long."""

    def found() -> list[str]:
        return [n for n in chat.notices() if STILL in n]

    await chat.until(lambda: len(found()) >= count, f"{count} told")
    return found()


async def failed(chat: Chat) -> Answer:
    """The next notice, which says that something failed."""
    text = await chat.notice()
    return next(a for a in reversed(chat.said()) if a.text == text)


async def test_a_slow_model_is_told_once_and_then_it_answers(
    hasty: Service, stage: Stage, model: ScriptedModel
) -> None:
    chat = await stage.chat()
    model.says("At last.", after=60)
    model.hold()
    asked = await chat.send("think hard")
    (text,) = await told(chat)
    assert "the model `test-model` is slow" in text and "nothing is lost" in text
    notice = next(e for e in chat.events("m.room.message") if STILL in e["content"]["body"])
    assert notice["content"]["m.relates_to"]["m.in_reply_to"]["event_id"] == asked
    await asyncio.sleep(3)
    model.forget()
    model.says("At last.")
    model.release()
    assert await chat.reply() == "At last."
    await chat.quiet()
    assert len(await told(chat)) == 1, "one sentence, however long it takes"


async def test_what_waits_behind_is_told_with_it(
    hasty: Service, stage: Stage, model: ScriptedModel
) -> None:
    chat = await stage.chat()
    model.default = lambda request: f"answer to {request.last_user}"
    model.hold()
    await chat.says("one", "two", "three")
    (text,) = await told(chat)
    assert "(2)" in text
    model.release()
    assert [await chat.reply() for _ in range(3)] == [
        f"answer to {n}" for n in ("one", "two", "three")
    ]
    assert len(await told(chat)) == 1


async def test_an_answer_that_grows_is_seen_and_nothing_need_be_told(
    hasty: Service, stage: Stage, model: ScriptedModel
) -> None:
    chat = await stage.chat()
    model.says("It begins here.", hold=True)
    await chat.send("tell me")
    assert "begins" in await chat.draft()
    await asyncio.sleep(4)
    model.release()
    assert await chat.reply() == "It begins here."
    assert not [n for n in chat.notices() if STILL in n]


async def test_a_question_is_an_answer_but_what_waits_for_it_is_told(
    hasty: Service, stage: Stage, model: ScriptedModel
) -> None:
    chat = await stage.chat()
    (hasty.folder / "workspace" / "old.txt").write_text("old")
    model.calls("delete_file", path="old.txt")
    model.says("It stays.", "Hello.")
    await chat.send("delete old.txt")
    await chat.until(lambda: any("delete_file" in n for n in chat.notices()), "the question")
    await asyncio.sleep(3)
    assert not [n for n in chat.notices() if STILL in n]
    await chat.send("and hello")
    (text,) = await told(chat)
    assert "a yes or no to a question" in text
    await chat.send("no")
    assert [await chat.reply() for _ in range(2)] == ["It stays.", "Hello."]


async def test_it_is_told_that_no_worker_runs(
    stage: Stage, model: ScriptedModel, tmp_path: Path
) -> None:
    front = Process(tmp_path, stage.door, stage.database.dsn, model.url)
    front.arguments = ["--no-turns"]
    front.set("limits.answer_deadline", 2)
    await stage.door.lead_to(front.url)
    try:
        await front.start()
        async with Worker(front):
            chat = await stage.chat()
        model.says("Here I am.")
        await chat.send("is anybody there?")
        (text,) = await told(chat)
        assert "no worker runs" in text and "still in line" in text
        async with Worker(front):
            assert await chat.reply() == "Here I am."
            await chat.quiet(3)
            assert len(await told(chat)) == 1
    finally:
        await front.stop()


async def test_several_processes_and_a_kill_tell_it_once(
    stage: Stage, model: ScriptedModel, tmp_path: Path
) -> None:
    process = Process(tmp_path, stage.door, stage.database.dsn, model.url)
    process.set("limits.answer_deadline", 2)
    await stage.door.lead_to(process.url)
    try:
        await process.start()
        async with Worker(process):
            human = await stage.person()
            chats = [await stage.chat(human) for _ in range(6)]
            model.default = lambda request: f"answer to {request.last_user}"
            model.hold()
            for n, chat in enumerate(chats):
                await chat.send(f"question {n}")
            for chat in chats:
                await told(chat)
            await process.kill9()
            await process.start()
            await asyncio.sleep(3)
            model.release()
            for n, chat in enumerate(chats):
                assert await chat.reply() == f"answer to question {n}"
            for chat in chats:
                assert len(await told(chat)) == 1
    finally:
        await process.stop()


@pytest.mark.parametrize("key", ["🔁", "🔄\ufe0f"])
async def test_what_failed_is_tried_again_once_for_each_click(
    chat: Chat, stage: Stage, model: ScriptedModel, key: str
) -> None:
    model.fails(401)
    asked = await chat.send("what is the time?")
    failure = await failed(chat)
    assert failure.text.endswith(AGAIN)
    model.fails(401)
    await chat.human.react(chat.room, failure.event_id, key)
    second = await failed(chat)
    assert second.text.endswith(AGAIN)
    model.says("Noon.")
    await chat.human.react(chat.room, asked, key)
    assert await chat.reply() == "Noon."
    model.says("And no more.")
    await chat.human.react(chat.room, second.event_id, key)
    assert await chat.ask("done?") == "And no more."
    assert len(model.requests) == 4


async def test_nothing_is_done_while_it_runs_nor_for_others(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    await stopped.start()
    ann, ben = await stage.group()
    model.fails(401)
    asked = await ann.send("memtrix: hello?")
    failure = await failed(ann)
    await ben.human.react(ben.room, failure.event_id, "🔁")
    await ben.quiet(1)
    assert len(model.requests) == 1, "it is not his message"
    model.hold()
    await ann.human.react(ann.room, failure.event_id, "🔁")
    await model.asked(2)
    await ann.human.react(ann.room, asked, "🔁")
    await ann.quiet(1)
    model.says("Hello.")
    model.release()
    assert await ann.reply() == "Hello."
    await ann.quiet()
    assert len(model.requests) == 2
    rows = await stage.database.fetch("select retry from inbox where kind = 'message' order by id")
    assert [row["retry"] for row in rows] == [0, 1]


async def test_what_has_been_done_is_not_done_again_but_told_to_the_model(
    chat: Chat, service: Service, stage: Stage, model: ScriptedModel
) -> None:
    model.calls("create_file", path="notes.txt", content="one")
    model.fails(401)
    await chat.send("write it down")
    failure = await failed(chat)
    path = service.folder / "workspace" / "notes.txt"
    assert path.read_text() == "one"
    path.write_text("changed by hand")
    model.says("It stands there already.")
    await chat.human.react(chat.room, failure.event_id, "🔁")
    assert await chat.reply() == "It stands there already."
    said = model.requests[-1].messages
    assert [m["role"] for m in said[1:]] == ["user", "assistant", "tool", "assistant", "user"]
    assert path.read_text() == "changed by hand"


async def test_an_edit_of_what_failed_counts_and_what_was_deleted_is_gone(
    chat: Chat, model: ScriptedModel
) -> None:
    model.fails(401)
    asked = await chat.send("wrong words")
    failure = await failed(chat)
    await chat.edit(asked, "right words")
    model.says("Right.")
    await chat.human.react(chat.room, failure.event_id, "🔁")
    assert await chat.reply() == "Right."
    assert model.requests[-1].last_user == "right words"
    model.fails(401)
    asked = await chat.send("to be deleted")
    failure = await failed(chat)
    await chat.redact(asked)
    await chat.human.react(chat.room, failure.event_id, "🔁")
    model.says("Only this.")
    assert await chat.ask("and now?") == "Only this."
    assert len(model.requests) == 4


async def test_what_a_room_does_not_take_is_told_to_the_operators_once(
    office: Chat, stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    chat = await stage.chat(office.human)
    model.hold()
    for n in range(2):
        await chat.send(f"question {n}")
        await model.asked(n + 1)
        await chat.human.kick(chat.room, stage.agent)
        await chat.sees_member(stage.agent, "leave")
        model.says("Never heard.")
        model.release()
        await eventually(lambda n=n: _undelivered(stage, chat.room, n + 1), "its end")
        model.hold()
        await chat.human.invite(chat.room, stage.agent)
        await chat.sees_member(stage.agent)
    await office.until(lambda: any(chat.room in n for n in office.notices()), "a line")
    await office.quiet(1)
    assert len([n for n in office.notices() if chat.room in n]) == 1
    model.release()


async def _undelivered(stage: Stage, room: str, count: int) -> bool:
    failed = "select from outbox where kind = 'text' and failed is not null and room_id = $1"
    return len(await stage.database.fetch(failed, room)) >= count


def upkeep(request: Request) -> bool:
    return "You keep the journal" in str(request.messages[0]["content"])


async def test_a_human_goes_before_work_in_the_background(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    """The model has one place: upkeep leaves it to the human, and comes back to it afterwards."""
    stopped.set("memory", {"upkeep": 0.01, "recall_tokens": 0})
    model.on(upkeep).hangs().says("Decisions: We sail on 14 June [1]")
    await stopped.start()
    chat = await stage.chat()
    model.says("A good day.")
    await chat.ask("We sail on 14 June with our boat.")
    await model.asked(2)
    assert upkeep(model.requests[-1])
    model.says("Hello.", after=4)
    await chat.send("are you there?")
    await model.wait_for_disconnects(1)
    await asyncio.sleep(2)
    assert sum(map(upkeep, model.requests)) == 1, "not again before the human is answered"
    assert await chat.reply() == "Hello."
    entries = "select from journal_entries"
    await eventually(lambda: stage.database.fetch(entries), "what upkeep writes when all is quiet")
    assert sum(map(upkeep, model.requests)) >= 2


@pytest.mark.parametrize(("typed", "meant"), [("/statsu", "status"), ("!hlep", "help")])
async def test_a_slip_of_a_command_is_asked_about(
    chat: Chat, model: ScriptedModel, typed: str, meant: str
) -> None:
    await chat.send(typed)
    assert f"Did you mean `/{meant}`?" in await chat.notice()
    assert not model.requests


async def test_paths_and_sentences_go_to_the_model(chat: Chat, model: ScriptedModel) -> None:
    model.default = lambda request: "read"
    for text in ("/etc/hosts is missing", "!statsu is what I typed wrongly", "/memroy"):
        assert await chat.ask(text) == "read"


def condensing(request: Request) -> bool:
    return "Condense the conversation" in request.last_user


async def talk_long(service: Service, stage: Stage, model: ScriptedModel) -> Chat:
    """A chat that is being condensed, by a call that hangs."""
    service.set("models.test-model.context", 2048)
    service.set("models.test-model.tools", False)
    service.set("memory", {"upkeep": "none", "recall_tokens": 0})
    model.on(condensing).hangs()
    model.by_default("An answer with many words in it. " * 12)
    await service.start()
    chat = await stage.chat()
    for n in range(20):
        if any(map(condensing, model.requests)):
            break
        await chat.ask(f"question {n}: " + "and some more words " * 15)
        await asyncio.sleep(0.5)
    assert sum(map(condensing, model.requests)) == 1
    return chat


async def test_no_message_waits_while_a_billed_model_condenses(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    stopped.set("models.test-model.price", {"input": 2, "output": 10})
    chat = await talk_long(stopped, stage, model)
    model.by_default("At once.")
    assert await chat.ask("are you there?") == "At once."
    model.release()
    model.on(condensing).by_default("A summary.")


async def test_condensing_with_ones_own_model_lets_a_message_go_first(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    chat = await talk_long(stopped, stage, model)
    model.on(condensing).by_default("A summary.")
    model.says("An answer.", after=1)
    await chat.send("are you there?")
    await model.wait_for_disconnects(1)
    assert await chat.reply() == "An answer."
    assert "condensed" in await chat.notice(), "asked for again by the end of that turn"
