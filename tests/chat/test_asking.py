"""The built-in tools that ask first, through a real room: what would be lost is named, and a yes
does it."""

from pathlib import Path

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.asking import notice, results
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage

pytestmark = only("direct")

LONG = "".join(f"- Fact {n} is about the garden of number {n}.\n" for n in range(40))


@pytest.fixture
def files(stopped: Service) -> Path:
    """The main agent's folder."""
    folder = stopped.folder / "workspace"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize(("word", "kept"), [("yes", "- One fact.\n"), ("no", LONG)])
async def test_losing_most_of_a_core_file(
    stopped: Service, files: Path, stage: Stage, model: ScriptedModel, word: str, kept: str
) -> None:
    (files / "MEMORY.md").write_text(LONG)
    await stopped.start()
    chat = await stage.chat()
    model.calls("read_core_file", filename="MEMORY.md")
    model.calls("write_core_file", filename="MEMORY.md", content="- One fact.")
    await chat.send("tidy up")
    asking = await notice(chat, "would lose most")
    assert "MEMORY.md" in asking and (files / "MEMORY.md").read_text() == LONG
    model.says("So be it.")
    await chat.send(word)
    assert await chat.reply() == "So be it."
    assert (files / "MEMORY.md").read_text() == kept
    assert ("is written" in results(model)[-1]) == (word == "yes")


async def test_overwriting_and_deleting_files(
    stopped: Service, files: Path, stage: Stage, model: ScriptedModel
) -> None:
    (files / "plan.txt").write_text("old")
    await stopped.start()
    chat = await stage.chat()
    model.calls("create_file", path="plan.txt", content="new")
    await chat.send("write the plan anew")
    assert "plan.txt" in await notice(chat, "plan.txt")
    assert (files / "plan.txt").read_text() == "old"
    model.calls("delete_file", path="plan.txt")
    await chat.send("yes")
    await notice(chat, "delete_file")
    assert (files / "plan.txt").read_text() == "new"
    model.says("It is gone.")
    await chat.send("yes")
    assert await chat.reply() == "It is gone."
    assert not (files / "plan.txt").exists()


async def test_losing_most_of_a_day(stopped: Service, stage: Stage, model: ScriptedModel) -> None:
    await stopped.start()
    chat = await stage.chat()
    model.calls("write_memory_file", section="Notes", content=LONG)
    model.says("Noted.")
    assert await chat.ask("note all this") == "Noted."
    model.calls("read_memory_file")
    model.calls("write_memory_file", content="## Notes\n- One fact.")
    await chat.send("tidy up today")
    await notice(chat, "write_memory_file")
    model.says("Left as it was.")
    await chat.send("no")
    assert await chat.reply() == "Left as it was."
    rows = await stage.database.fetch("select 1 from journal_entries where removed_at is null")
    assert len(rows) == 40
