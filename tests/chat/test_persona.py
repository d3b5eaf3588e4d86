"""Who the agent is: in files that its human edits, it writes itself, and /persona takes back."""

from pathlib import Path

import pytest

from memtrix_as.memory.persona import TEMPLATES
from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage

pytestmark = only("direct")

LONG = "".join(f"- Fact{n} about the garden of number{n}.\n" for n in range(40))


@pytest.fixture
def files(stopped: Service) -> Path:
    """The main agent's folder."""
    return stopped.folder / "workspace"


def system(model: ScriptedModel, request: int = -1) -> str:
    return str(model.requests[request].messages[0]["content"])


def results(model: ScriptedModel, request: int = -1) -> list[str]:
    return [m["content"] for m in model.requests[request].messages if m["role"] == "tool"]


async def reads_and_writes(chat: Chat, model: ScriptedModel, file: str, text: str) -> str:
    """A turn in which the agent rewrites a file; returns what it was told."""
    model.calls("read_core_file", filename=file)
    model.calls("write_core_file", filename=file, content=text)
    model.says("Noted.")
    await chat.ask("remember this")
    return results(model)[-1]


async def command(chat: Chat, text: str) -> str:
    await chat.send(text)
    return await chat.notice()


async def test_the_first_hello_has_the_templates(
    chat: Chat, files: Path, model: ScriptedModel
) -> None:
    model.says("Hello!")
    await chat.ask("hello")
    assert "You are Memtrix" in system(model) and "{{" not in system(model)
    for template in TEMPLATES.iterdir():
        assert (files / template.name).read_text() == template.read_text()
        if template.name != "AGENT.md":
            assert template.read_text().strip() in system(model)


async def test_what_the_human_edits_counts_from_the_next_message(
    chat: Chat, files: Path, model: ScriptedModel
) -> None:
    model.by_default("Aye.")
    await chat.ask("hello")
    (files / "BEHAVIOR.md").write_text("Talk like a sailor, {{SOUL}}.")
    await chat.ask("and now?")
    assert "Talk like a sailor, {{SOUL}}." in system(model), "a placeholder in a file is text"
    (files / "AGENT.md").write_text("I am {{NAME}}. {{BEHAVIOR}}")
    await chat.ask("and now?")
    assert system(model) == "I am Memtrix. Talk like a sailor, {{SOUL}}."


async def test_files_deleted_while_it_runs_come_back(
    chat: Chat, files: Path, model: ScriptedModel
) -> None:
    model.by_default("Yes.")
    await chat.ask("hello")
    for template in TEMPLATES.iterdir():
        (files / template.name).unlink()
    await chat.ask("still you?")
    assert system(model) == system(model, 0)
    assert all((files / template.name).exists() for template in TEMPLATES.iterdir())


async def test_what_the_agent_writes_is_in_the_next_prompt(
    chat: Chat, files: Path, model: ScriptedModel
) -> None:
    told = await reads_and_writes(chat, model, "user", "- Name: Ann\n")
    assert told.startswith("USER.md is written")
    assert (files / "USER.md").read_text() == "- Name: Ann\n"
    model.calls("write_core_file", filename="USER.MD", content="- Name: Ann Smith")
    model.says("Done.")
    await chat.ask("Smith, that is")
    assert "- Name: Ann\n" in system(model)
    assert results(model)[-1].startswith("USER.md is written"), "it knows what it wrote itself"
    model.says("Ann Smith.")
    await chat.ask("who am I?")
    assert "- Name: Ann Smith" in system(model)
    assert not chat.notices(), "all of it silently"


async def test_two_agents_share_what_they_know_of_the_human(
    stopped: Service, stage: Stage, files: Path, model: ScriptedModel
) -> None:
    dennis = await stage.second_agent("dennis")
    await stopped.start()
    chat = await stage.chat()
    room = await chat.human.create_room(dennis, is_direct=True)
    await chat.human.sees_member(room, dennis)
    other = Chat(chat.human, room, dennis)
    await reads_and_writes(chat, model, "USER.md", "- Name: Ann\n")
    await reads_and_writes(chat, model, "MEMORY.md", "- The boat is blue.\n")
    model.by_default("Hello Ann.")
    await other.ask("hello")
    assert "You are Dennis" in system(model) and "- Name: Ann" in system(model)
    assert "boat" not in system(model), "but nothing else"
    await reads_and_writes(other, model, "USER.md", "- Name: Ann\n- Cooks\n")
    await chat.ask("what do I like?")
    assert "- Cooks" in system(model)
    history = await command(chat, "/persona history user")
    assert "| Memtrix |" in history and "| Dennis |" in history
    assert not (stopped.folder / "agents" / "dennis" / "USER.md").exists()
    assert (stopped.folder / "agents" / "dennis" / "SOUL.md").exists()


async def test_only_what_was_read_may_be_written(
    chat: Chat, stage: Stage, files: Path, model: ScriptedModel
) -> None:
    model.by_default("Hm.")
    model.calls("write_core_file", filename="SOUL.md", content="Rude.")
    await chat.ask("be rude")
    assert "have not read it" in results(model)[-1]
    model.calls("read_core_file", filename="SOUL.md")
    await chat.ask("look at yourself")
    assert results(model)[-1] == (TEMPLATES / "SOUL.md").read_text()
    elsewhere = await stage.chat(chat.human)
    model.calls("write_core_file", filename="SOUL.md", content="Rude.")
    await elsewhere.ask("be rude")
    assert "have not read it" in results(model)[-1], "another conversation has not read it"
    (files / "SOUL.md").write_text("Polite, by hand.")
    model.calls("write_core_file", filename="SOUL.md", content="Rude.")
    await chat.ask("be rude")
    assert "changed by somebody else" in results(model)[-1]
    assert (files / "SOUL.md").read_text() == "Polite, by hand."


async def test_what_an_agent_may_not_write_is_explained(
    stopped: Service, stage: Stage, files: Path, model: ScriptedModel
) -> None:
    stopped.set("memory.core_file_size", 100)
    await stopped.start()
    chat = await stage.chat()
    told = await reads_and_writes(chat, model, "MEMORY.md", "x" * 1234)
    assert "1,235 characters" in told and "100" in told and "Condense" in told
    assert "human's alone" in await reads_and_writes(chat, model, "AGENT.md", "Obey.")
    assert "SOUL.md, BEHAVIOR.md" in await reads_and_writes(chat, model, "../config.yaml", "x")
    assert (files / "MEMORY.md").read_text() == (TEMPLATES / "MEMORY.md").read_text()


async def test_a_change_that_keeps_most_is_not_asked_about(
    chat: Chat, files: Path, model: ScriptedModel
) -> None:
    (files / "MEMORY.md").write_text(LONG)
    told = await reads_and_writes(chat, model, "MEMORY.md", LONG + "- And one more.\n")
    assert told.startswith("MEMORY.md is written")


async def test_among_others_the_owner_s_files_stay_closed(
    service: Service, stage: Stage, files: Path, model: ScriptedModel
) -> None:
    ann, ben = await stage.group()
    alone = await stage.chat(ann.human)
    model.by_default("Yes.")
    await alone.ask("I am the first, and so the owner")
    (files / "USER.md").write_text("- Name: Ann, called Bunny\n")
    (files / "MEMORY.md").write_text("- She is to be promoted.\n")
    for chat in (ann, ben):
        model.calls("read_core_file", filename="USER.md")
        model.calls("write_core_file", filename="MEMORY.md", content="Nothing.")
        await chat.send("Memtrix: tell us about Ann")
        await chat.reply()
        assert "Bunny" not in str(model.requests[-1].messages)
        assert "promoted" not in str(model.requests[-1].messages)
        assert all("where others read" in told for told in results(model)[-2:])
        assert "Kept for the person" in system(model)
    assert "promoted" in (files / "MEMORY.md").read_text()
    assert "Bunny" not in await command(ann, "Memtrix: /persona show USER.md")
    assert "alone" in await command(ann, "Memtrix: /persona")
    await ben.send("Memtrix: /persona undo USER.md")
    await ben.until(lambda: [n for n in ben.notices() if "Only my owner" in n], "the refusal")
    await alone.ask("and here?")
    assert "Bunny" in system(model) and "promoted" in system(model)


async def test_who_is_not_the_owner_changes_nothing(
    service: Service, stage: Stage, files: Path, model: ScriptedModel
) -> None:
    model.by_default("Yes.")
    ann = await stage.chat()
    await ann.ask("I am the owner")
    ben = await stage.chat(await stage.person("ben"))
    told = await reads_and_writes(ben, model, "BEHAVIOR.md", "Obey Ben.")
    assert "only your owner" in told
    assert (TEMPLATES / "BEHAVIOR.md").read_text() in results(model), "reading is open to all"
    told = await reads_and_writes(ben, model, "USER.md", "- Name: Ben")
    assert "where others read" in told and "Kept for the person" in system(model)
    assert "Only my owner" in await command(ben, "/persona show SOUL")


async def test_an_administrator_may_change_who_the_agents_are(
    stopped: Service, stage: Stage, files: Path, model: ScriptedModel
) -> None:
    ann, ben = await stage.person("ann"), await stage.person("ben")
    stopped.permit(**{"hs.test": "user", ben.user_id: "admin"})
    stopped.set("memory.owner", ann.user_id)
    await stopped.start()
    chat = await stage.chat(ben)
    behavior = (files / "BEHAVIOR.md").read_text()
    told = await reads_and_writes(chat, model, "BEHAVIOR.md", behavior + "- Be kind.\n")
    assert told.startswith("BEHAVIOR.md is written")
    assert "| Memtrix |" in await command(chat, "/persona history behavior")
    assert "for my owner" in await command(chat, "/persona show USER")


async def test_the_human_lists_compares_and_takes_back(
    chat: Chat, files: Path, model: ScriptedModel
) -> None:
    await reads_and_writes(chat, model, "USER.md", "- Name: Ann\n- Boat: blue\n")
    (files / "USER.md").write_text("- Name: Ann\n- Boat: `red`\n")
    table = await command(chat, "/persona")
    assert "AGENT.md" in table and "template" in table and "USER.md" in table
    assert "editor" in table.split("USER.md")[1].split("MEMORY.md")[0]
    assert "Boat: `red`" in await command(chat, "!Persona SHOW user")
    history = await command(chat, "/persona history USER.md")
    assert [who in history for who in ("template", "Memtrix", "editor")] == [True] * 3
    diff = await command(chat, "/persona diff USER.md")
    assert "-- Boat: blue" in diff and "+- Boat: `red`" in diff and " - Name: Ann" in diff
    assert "-- Name: not known yet" in await command(chat, "/persona diff user 1")
    assert "version 2" in await command(chat, "/persona undo USER.md")
    assert (files / "USER.md").read_text() == "- Name: Ann\n- Boat: blue\n"
    await command(chat, "/persona undo user")
    assert "red" in (files / "USER.md").read_text(), "an undo can be undone"
    await command(chat, "/persona undo USER.md 1")
    assert (files / "USER.md").read_text() == (TEMPLATES / "USER.md").read_text()
    model.says("No.")
    await chat.ask("do you know me?")
    assert "not known yet" in system(model)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/persona dance", "/persona help"),
        ("/persona show", "/persona show FILE"),
        ("/persona undo USER.md 1 2", "FILE [NUMBER]"),
        ("/persona diff ../config.yaml", "AGENT, SOUL"),
        ("/persona undo SOUL x", "/persona history SOUL.md"),
        ("/persona undo SOUL 7", "from 1 to 1"),
        ("/persona undo SOUL", "no other text"),
        ("/persona help", "/persona undo FILE 3"),
        ("/help", "/persona"),
    ],
)
async def test_wrong_words_get_a_sentence_with_what_to_type(
    chat: Chat, model: ScriptedModel, text: str, told: str
) -> None:
    assert told in await command(chat, text)
    assert not model.requests
