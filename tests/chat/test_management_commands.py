"""Every command of the management room typed on a homeserver, and what it does there."""

import json

from memtrix_as import __version__
from memtrix_as.testing import ScriptedModel
from tests.chat.test_memory import indexed, search, tell
from tests.rig.chat import Chat
from tests.rig.embeddings import EmbeddingServer
from tests.rig.human import Human
from tests.rig.management import confirms, enter, types
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.settings import MODEL
from tests.rig.stage import Stage
from tests.rig.waiting import eventually

pytestmark = only("direct")


async def test_of_the_service(office: Chat, stopped: Service, stage: Stage) -> None:
    assert "`session clear ID`" in await types(office, "help session")
    status = await types(office, "status")
    assert __version__ in status and "1 agent in 0 rooms" in status
    version = await types(office, "version")
    assert "Matrix v1" in version and "PostgreSQL:** 1" in version and "pgvector:** 0" in version
    backup = await types(office, "backup")
    assert (
        "memtrix-as backup memtrix.backup -c" in backup
        and str(stopped.folder / "workspace") in backup
    )
    assert stopped.settings["appservice"]["database"] not in backup, "it has a password"
    permissions = await types(office, "permissions")
    assert office.human.user_id in permissions and "admin" in permissions


async def test_config_check(office: Chat, stopped: Service) -> None:
    assert "is fine, and what runs" in await types(office, "config check")
    stopped.set("limits.tool_rounds", 7)
    stopped.set("appservice.id", "another")
    stopped.write()
    said = await types(office, "config check")
    assert "`limits.tool_rounds`" in said and "after a restart" in said
    assert "new registration for `appservice.id`" in said
    stopped.set("limits.tool_rounds", "many")
    stopped.write()
    said = await types(office, "config check")
    assert "limits.tool_rounds" in said and "has problems" in said
    assert stopped.settings["appservice"]["as_token"] not in said


async def test_registration(office: Chat, stopped: Service, stage: Stage) -> None:
    said = await types(office, "registration")
    assert said.count("✅ known") == 2 and "reaches us:** yes" in said
    assert "exclusive: true" in said and "`memtrix-as -g` writes one" in said
    for token in ("as_token", "hs_token"):
        assert stopped.settings["appservice"][token] not in said
    file, known = stopped.folder / "registration.yaml", stage.door.registration
    file.write_text(json.dumps(known))
    assert f"✅ `{file}`" in await types(office, "registration")
    file.write_text(json.dumps({**known, "url": "http://elsewhere"}))
    assert "is not of this configuration" in await types(office, "registration")
    stage.door.cut(calls=False)
    assert "❌" in await types(office, "registration")


async def test_of_agents(ann: Human, stopped: Service, stage: Stage, model: ScriptedModel) -> None:
    await stage.second_agent()
    stopped.set("models.other", {"provider": "scripted", "model": "another"})
    await stopped.start()
    office = await enter(stage, ann)
    listed = await types(office, "agents")
    assert f"| Memtrix | `{MODEL}` | 0 | main |" in listed and "Dennis" in listed
    assert "the main agent" in await types(office, "agent show memtrix")
    assert "Did you mean Dennis?" in await types(office, "agent show Denis")
    assert "uses `other`" in await types(office, "agent model Memtrix OTHER")
    assert "is on" in await types(office, "agent verbose Memtrix on")
    assert "is on" in await types(office, "agent reasoning Memtrix on")
    shown = await types(office, f"agent show {stage.agent}")
    assert "`other`" in shown and shown.count("** on") == 3
    chat = await stage.chat()
    model.says("Hello.", reasoning="A greeting.")
    assert await chat.ask("hi") == "Hello."
    assert "A greeting." in await chat.notice() and model.requests[-1].model == "another"
    assert "main agent, without which" in await types(office, "agent archive Memtrix")
    assert "main agent, without which" in await types(office, "agent delete Memtrix")


async def test_of_models(office: Chat, model: ScriptedModel) -> None:
    assert f"| `{MODEL}` | `scripted` at `scripted` |" in await types(office, "models")
    model.says("ready")
    said = await types(office, f"model test {MODEL}")
    assert "✅" in said and "says:** ready" in said and "tokens" in said
    model.fails(401)
    assert "❌" in await types(office, f"model test {MODEL}")
    assert "yes, with" in await types(office, "providers")
    assert "| `" in await types(office, "providers scripted")
    assert "Did you mean `scripted`?" in await types(office, "providers scriptd")


async def test_of_rooms_and_sessions(office: Chat, stage: Stage, model: ScriptedModel) -> None:
    model.by_default("Hello.")
    ben = await stage.person("ben")
    chat = await stage.chat(ben)
    await chat.ask("my bicycle is red")
    rooms = await types(office, "rooms")
    assert ben.name in rooms and "Memtrix" in rooms and "just now" in rooms
    assert rooms == await types(office, f"rooms {ben.name.upper()}")
    assert "None of 1 room" in await types(office, "rooms nobody-of-that-name")
    session = (await types(office, "sessions")).rpartition("| #")[2].split()[0]
    shown = await types(office, f"session show #{session}")
    assert "my bicycle is red" in shown and "**Memtrix:** Hello." in shown
    assert "is over" in await confirms(office, f"session clear {session}")
    room = rooms.rpartition("| #")[2].split()[0]
    assert "1 agent leaves room" in await confirms(office, f"room leave {room}")
    await chat.sees_member(stage.agent, "leave")
    assert "management room" in await types(office, f"room leave {office.room}")


async def test_of_memory(office: Chat, stage: Stage, model: ScriptedModel) -> None:
    chat = await stage.chat(office.human)
    await tell(chat, model, "Our sailing boat is called Nessie.")
    await tell(chat, model, "The dentist is on Friday.")
    model.calls("write_memory_file", content="- The boat Nessie needs paint.")
    await tell(chat, model, "Note that Nessie needs paint.")
    await indexed(stage)
    found = await types(office, "memory search Memtrix sailing boat")
    assert "Nessie" in found and "*said:*" in found and "https://matrix.to/#/" in found
    shown = await types(office, "memory show Memtrix")
    assert "The boat Nessie needs paint." in shown and "6 messages" in shown
    assert "is no day" in await types(office, "memory show Memtrix someday")
    hits = await types(office, "memory forget Memtrix Nessie")
    ids = [line.split()[1] for line in hits.splitlines() if line.startswith("| #")]
    asked = await types(office, f"memory forget Memtrix {' '.join(ids)}")
    assert "Nessie" in asked and "cannot be taken back" in asked and "1 journal entry" in asked
    assert "Forgotten" in await types(office, "yes")
    await indexed(stage)
    assert "Nessie" not in await search(await stage.chat(office.human), model, "the boat's name")
    assert "Nothing in the memory" in await types(office, "memory search Memtrix Nessie")
    model.says("Who knows.")
    await chat.ask("what is our boat called?")
    assert "sailing boat" not in str(model.requests[-1].messages), "nor is it in the conversation"


async def test_forgetting_one_thing_of_a_passage(
    office: Chat, stage: Stage, model: ScriptedModel
) -> None:
    chat = await stage.chat(office.human)
    await tell(chat, model, "Our sailing boat is called Nessie.")
    await tell(chat, model, "The dentist is on Friday.")
    await indexed(stage)
    number = (await types(office, "memory search Memtrix boat")).rpartition("| #")[2].split()[0]
    asked = await types(office, f"memory forget Memtrix #{number}")
    place = next(line.split()[1] for line in asked.splitlines() if "Nessie" in line)
    assert place.startswith(f"#{number}.")
    await office.send("no")
    assert "1 message" in await confirms(office, f"memory forget Memtrix {place}")
    await indexed(stage)
    assert "Nothing in the memory" in await types(office, "memory search Memtrix Nessie")
    assert "dentist" in await types(office, "memory search Memtrix dentist")


async def test_memory_reindex(
    ann: Human, stopped: Service, stage: Stage, model: ScriptedModel, embeddings: EmbeddingServer
) -> None:
    stopped.set("embeddings", embeddings.settings)
    stopped.set("memory", {"recall_tokens": 0})
    await stopped.start()
    office = await enter(stage, ann)
    await tell(await stage.chat(ann), model, "Our sailing boat is called Nessie.")
    await indexed(stage, vectors=True)
    before = (await stage.database.fetch("select max(id) as id from spaces"))[0]["id"]
    assert "new vector" in await types(office, "memory reindex")
    assert "has begun" in await types(office, "yes")
    assert "is done" in await office.notice()
    spaces = await stage.database.fetch("select id from spaces where complete_at is not null")
    assert [row["id"] for row in spaces] != [before] and len(spaces) == 1
    assert "Nessie" in await types(office, "memory search Memtrix what do we call our ship?")
    assert "cut anew" in await types(office, "memory reindex Memtrix")
    await types(office, "yes")
    assert "is done" in await office.notice()


async def test_of_persona(office: Chat, stopped: Service) -> None:
    soul = stopped.folder / "workspace" / "SOUL.md"
    first = soul.read_text()
    assert first.splitlines()[0] in await types(office, "persona show Memtrix soul")
    soul.write_text("I am a pirate.\n")
    history = await types(office, "persona history Memtrix SOUL.md")
    assert "| 2 |" in history and "editor" in history
    asked = await types(office, "persona undo Memtrix SOUL")
    assert "I am a pirate." in asked and "version 2 to version 1" in asked
    assert "says again" in await types(office, "yes")
    assert soul.read_text() == first
    assert "says already" in await types(office, "persona undo Memtrix SOUL 1")
    soul.write_text("I am a pirate.\n")
    assert "No answer until" in await types(office, "persona undo Memtrix SOUL")
    soul.write_text("I am a cook.\n")
    assert "changed meanwhile" in await types(office, "yes")
    assert soul.read_text() == "I am a cook.\n"


async def test_usage(office: Chat, stage: Stage, model: ScriptedModel) -> None:
    assert "No model was asked" in await types(office, "usage day")
    model.by_default("Hello.")
    await (await stage.chat()).ask("hi")
    for period in ("", " day", " week", " month"):
        assert f"| Memtrix | {MODEL} |" in await types(office, f"usage{period}")


async def test_approvals_and_tools_without_any(office: Chat) -> None:
    assert "No agent waits" in await types(office, "approvals")
    for verb in ("approve", "deny"):
        assert "There is no question `7`" in await types(office, f"{verb} 7")
    assert "| `get_current_time` | never | on |" in await types(office, "tools")
    assert "Did you mean `web_search`" in await types(office, "tool disable websearch")
    assert "is off for all agents" in await types(office, "tool disable web_search")
    assert "switches it on for all" in await types(office, "tool enable web_search Memtrix")
    assert "is on for all agents" in await types(office, "tool enable web_search")
    assert "already" in await types(office, "tool enable web_search")


async def test_memory_without_embeddings_can_be_indexed_anew(
    office: Chat, stage: Stage, model: ScriptedModel
) -> None:
    await tell(await stage.chat(office.human), model, "Our sailing boat is called Nessie.")
    await indexed(stage)
    await types(office, "memory reindex")
    assert "has begun" in await types(office, "yes")
    assert "is done" in await office.notice()
    await eventually(lambda: found(office), "the boat")


async def found(office: Chat) -> bool:
    return "Nessie" in await types(office, "memory search Memtrix boat")
