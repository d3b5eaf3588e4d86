"""Backup, wipe, restore: the same mind goes on where it was, and answers nothing twice."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memtrix_as.backup.files import STAGE
from memtrix_as.db import restored
from memtrix_as.db.pool import connect
from memtrix_as.errors import DatabaseError
from memtrix_as.memory.embedder import RemoteEmbedder
from memtrix_as.memory.search import search
from memtrix_as.testing import ScriptedModel
from tests.chat.test_memory import indexed, tell
from tests.rig.asking import ended, question
from tests.rig.chat import Chat
from tests.rig.embeddings import NAME, EmbeddingServer
from tests.rig.mind import Installation
from tests.rig.modes import only
from tests.rig.people import make, room_with
from tests.rig.service import Process, Service
from tests.rig.stage import Stage

FACTS = {
    "Our sailing boat is called Nessie and lies in Flensburg.": "what is the name of our ship?",
    "My sister Clara is allergic to walnuts.": "who has an allergy to nuts?",
    "The alarm code of the cabin is 4711.": "alarm code",
    "On Fridays I play chess with Otto.": "whom do I play board games with?",
}


@pytest.fixture
async def minded(stopped: Service, embeddings: EmbeddingServer) -> Service:
    stopped.set("embeddings", embeddings.settings)
    stopped.set("memory", {"recall_tokens": 0})
    await stopped.start()
    return stopped


def place(service: Service, stage: Stage) -> Installation:
    """The same installation, for the command line."""
    return Installation(service.folder, stage.database.dsn, service.settings)


async def wipe(service: Service, stage: Stage) -> None:
    """As if there had never been one."""
    await stage.database.empty()
    for name in ("workspace", "agents"):
        shutil.rmtree(service.folder / name, ignore_errors=True)


async def recalled(stage: Stage, embeddings: EmbeddingServer, person: str) -> list[Any]:
    """What is found for each question, with day, score and source."""
    pool = await connect(stage.database.dsn)
    model = RemoteEmbedder(NAME, embeddings.settings["base_url"])
    await model.load()
    agent = stage.agent[1:].partition(":")[0]
    found = [
        [(hit.day, hit.text, round(hit.score, 6)) for hit in await search(
            pool, [model], asked, agent=agent, people=[person]
        )]
        for asked in FACTS.values()
    ]  # fmt: skip
    await model.close()
    await pool.close()
    return found


async def settled(stage: Stage) -> list[dict[str, Any]]:
    return [
        dict(row)
        for row in await stage.database.fetch(
            'select name, user_id, display_name, model, "verbose", reasoning, recall, state,'
            " expertise, registered, avatar from agents order by name"
        )
    ]


async def test_backup_wipe_restore(
    minded: Service, stage: Stage, model: ScriptedModel, embeddings: EmbeddingServer, tmp_path: Path
) -> None:
    ann = await stage.person("ann")
    chat, busy, asking = [await stage.chat(ann) for _ in range(3)]
    for fact in FACTS:
        await tell(await stage.chat(ann), model, fact)
    await make(chat, model)
    await chat.send("/verbose on")
    await chat.notice()
    model.says("A list.")
    await chat.human.send_file(chat.room, "list.txt", b"Milk, eggs", "text/plain")
    assert await chat.reply() == "A list."
    (minded.folder / "workspace" / "SOUL.md").write_text("You speak like a sailor.\n")
    (minded.folder / "workspace" / "old.md").write_text("Away with it.\n")
    await indexed(stage, vectors=True)
    model.calls("delete_file", path="old.md")
    await asking.send("delete old.md")
    await question(asking, "old.md")
    before = await recalled(stage, embeddings, ann.user_id), await settled(stage)
    assert all(before[0])
    # Messages fly: one is being answered, one waits, more come while the file is written.
    model.hold()
    for text in ("first", "second", "third"):
        model.on(text).says(f"The {text} answer.")
    asked = len(model.requests) + 1
    await busy.says("first", "second")
    await model.asked(asked)
    file = tmp_path / "mind.backup"
    await place(minded, stage).run("backup", file)
    model.release()
    assert [await busy.reply(), await busy.reply()] == ["The first answer.", "The second answer."]
    assert await busy.ask("third") == "The third answer."
    await minded.stop()
    model.on("are you back").says("I am back.")
    event = await busy.send("are you back?")
    await wipe(minded, stage)
    assert "Restored" in await place(minded, stage).run("restore", file)
    assert (minded.folder / "workspace" / "SOUL.md").read_text() == "You speak like a sailor.\n"
    assert list((minded.folder / "workspace" / "attachments").glob("list-*.txt"))
    requests = len(model.requests)
    assert (await recalled(stage, embeddings, ann.user_id), await settled(stage)) == before
    await minded.start()
    if stage.door.software == "conduit":
        await stage.door.delivered(event)
    assert await busy.reply() == "I am back."
    assert "restored from a backup" in await busy.notice()
    await goes_on(chat, busy, asking, stage, model)
    texts = [request.last_user for request in model.requests[requests:]]
    assert not [t for t in texts if any(t.endswith(old) for old in ("first", "second", "third"))]


async def goes_on(chat: Chat, busy: Chat, asking: Chat, stage: Stage, model: ScriptedModel) -> None:
    """Each conversation is where it was, the open question too, and Dennis is there."""
    model.says("Gone.")
    await asking.send("yes")
    assert await asking.reply() == "Gone."
    await ended(asking, "Approved", "old.md")
    model.says("Soup.")
    talk = await room_with(stage, chat.human, stage.door.user(_dennis(stage)))
    assert await talk.ask("What shall I cook?") == "Soup."
    assert "why a sauce breaks" in str(model.requests[-1].messages[0]["content"])
    model.says("Nessie.")
    assert await chat.ask("what is she called?") == "Nessie."
    last = str(model.requests[-1].messages)
    assert "You speak like a sailor." in last and "Call him Dennis" in last
    replies = ["The first answer.", "The second answer.", "The third answer.", "I am back."]
    assert busy.replies() == replies
    assert chat.replies() == ["Dennis is ready!", "A list.", "Nessie."]
    assert asking.replies() == ["Gone."]


def _dennis(stage: Stage) -> str:
    return f"{stage.door.registration['id']}_dennis"


async def test_what_was_not_answered_is(stage: Stage, model: ScriptedModel, tmp_path: Path) -> None:
    """The service dies with the backup's moment: nobody has answered what waits in it."""
    process = Process(tmp_path, stage.door, stage.database.dsn, model.url)
    await stage.door.lead_to(process.url)
    await process.start()
    chat = await stage.chat()
    model.says("Hello.")
    assert await chat.ask("hello") == "Hello."
    model.hold()
    for text in ("first", "second"):
        model.on(text).says(f"The {text} answer.")
    _, last = await chat.says("first", "second")
    await model.asked(2)
    await stage.door.delivered(last)
    file = tmp_path / "mind.backup"
    await place(process, stage).run("backup", file)
    await process.kill9()
    model.release()
    await wipe(process, stage)
    await stage.database.fetch("select pg_sleep(0.2)")
    await place(process, stage).run("restore", file)
    await process.start()
    assert [await chat.reply(), await chat.reply()] == ["The first answer.", "The second answer."]
    model.says("Still here.")
    assert await chat.ask("and now?") == "Still here."
    assert chat.replies() == ["Hello.", "The first answer.", "The second answer.", "Still here."]
    assert not [text for text in chat.notices() if "restored" in text]
    await process.stop()


async def unfinished(service: Service, stage: Stage, *files: str) -> None:
    """As a crash leaves it that comes when the database is filled and these files are not there."""
    work = service.folder / "workspace"
    (work / STAGE).mkdir()
    for file in files:
        (work / file).rename(work / STAGE / file)
    pool = await connect(stage.database.dsn)
    was = await restored.read(pool)
    assert was and was.placed
    await restored.write(pool, replace(was, placed=False))
    await pool.close()


@only("direct")
async def test_a_restore_that_was_cut_short(
    minded: Service, stage: Stage, model: ScriptedModel, tmp_path: Path
) -> None:
    """Between the database and its files: no service starts, and the same command goes on."""
    chat = await stage.chat()
    await tell(chat, model, "Our boat is called Nessie.")
    (minded.folder / "workspace" / "SOUL.md").write_text("You speak like a sailor.\n")
    file, other = tmp_path / "mind.backup", tmp_path / "other.backup"
    await place(minded, stage).run("backup", file)
    await place(minded, stage).run("backup", other)
    await minded.stop()
    await wipe(minded, stage)
    await place(minded, stage).run("restore", file)
    await unfinished(minded, stage, "SOUL.md")
    with pytest.raises(DatabaseError, match="restore works on this installation, or was cut short"):
        await minded.start()
    assert "restore of another backup" in await place(minded, stage).run("restore", other, status=1)
    assert "Finished the restore" in await place(minded, stage).run("restore", file)
    soul = minded.folder / "workspace" / "SOUL.md"
    assert soul.read_text() == "You speak like a sailor.\n"
    await minded.start()
    model.says("Nessie.")
    assert await chat.ask("what is she called?") == "Nessie."
    assert "Our boat is called Nessie." in str(model.requests[-1].messages)


@only("direct")
async def test_on_another_homeserver(
    minded: Service, stage: Stage, model: ScriptedModel, tmp_path: Path
) -> None:
    """The agents come along, with what they know; rooms, and what waited in them, do not."""
    chat = await stage.chat()
    await make(chat, model)
    model.hold()
    asked = len(model.requests) + 1
    await chat.send("wait")
    await model.asked(asked)
    file = tmp_path / "mind.backup"
    await place(minded, stage).run("backup", file)
    await minded.stop()
    await wipe(minded, stage)
    elsewhere = place(minded, stage)
    elsewhere.values = {**minded.settings, "homeserver": {
        **minded.settings["homeserver"], "domain": "other.test"}}  # fmt: skip
    await elsewhere.run("restore", file)
    rows = await elsewhere.fetch("select name, user_id, registered, shown_name from agents")
    assert {row["user_id"].partition(":")[2] for row in rows} == {"other.test"}
    assert not any(row["registered"] or row["shown_name"] for row in rows)
    assert not await elsewhere.fetch("select from rooms union all select from members")
    assert not await elsewhere.fetch("select from inbox where done_at is null")
    assert not await elsewhere.fetch("select from turns where state in ('running', 'parked')")
