"""What a tool may do is asked and answered at the terminal."""

import re
from pathlib import Path

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.terminal import Installation, Terminal


@pytest.fixture
def notes(installation: Installation) -> Path:
    folder = installation.folder / "workspace" / "notes"
    folder.mkdir(parents=True)
    for name in ("a.md", "b.md"):
        (folder / name).write_text(f"This is {name}.")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_yes_and_no(notes: Path, installation: Installation, model: ScriptedModel) -> None:
    terminal = await installation.sit_down()
    model.calls("delete_file", path="notes/a.md").says("It is gone.")
    model.calls("delete_file", path="notes/b.md").says("Then it stays.")
    shown = await terminal.says("delete a", "Answer yes")
    assert "Question" in shown and "notes/a.md" in shown and "React" not in shown
    assert (notes / "a.md").exists()
    await terminal.says("yes", "Approved by @ann:hs.test.")
    await terminal.shows("It is gone.")
    assert not (notes / "a.md").exists()
    await terminal.says("delete b", "Answer yes")
    await terminal.says("no", "Denied by @ann:hs.test")
    await terminal.shows("Then it stays.")
    assert (notes / "b.md").exists()


async def test_always(notes: Path, installation: Installation, model: ScriptedModel) -> None:
    terminal = await installation.sit_down()
    model.calls("delete_file", path="notes/a.md").says("One.")
    model.calls("delete_file", path="notes/b.md").says("Two.")
    await terminal.says("delete a", "Answer yes")
    await terminal.says("always", "One.")
    assert "Question" not in await terminal.says("delete b", "Two.")
    assert names(notes) == []


async def test_two_open_questions_do_not_mix(
    notes: Path, installation: Installation, model: ScriptedModel
) -> None:
    terminal = await installation.sit_down()
    first, second = {"path": "notes/a.md"}, {"path": "notes/b.md"}
    model.calls("delete_file", first, "delete_file", second).says("One of them.")
    await terminal.says("delete both", "notes/b.md")
    numbers = re.findall(r"Question (\d+)", terminal.text)
    assert len(numbers) == 2
    shown = await terminal.says("yes", "Say which one you mean")
    assert "Approved" not in shown and len(names(notes)) == 2
    await terminal.says(f"no {numbers[1]}", "Denied")
    await terminal.says(f"yes {numbers[0]}", "One of them.")
    assert names(notes) == ["b.md"]


async def test_ctrl_c_withdraws_the_question(
    notes: Path, installation: Installation, model: ScriptedModel
) -> None:
    terminal = await installation.sit_down()
    model.calls("delete_file", path="notes/a.md")
    await terminal.says("delete a", "Answer yes")
    terminal.types("\x03")
    await terminal.shows("Withdrawn")
    model.says("Hello again.")
    await terminal.says("hello", "Hello again.")
    assert (notes / "a.md").exists()


async def test_a_question_outlives_the_terminal(
    notes: Path, installation: Installation, model: ScriptedModel
) -> None:
    first = await installation.sit_down()
    model.calls("delete_file", path="notes/a.md").says("It is gone.")
    await first.says("delete a", "Answer yes")
    await first.kill9()
    second = await installation.sit_down()
    await second.shows("notes/a.md")
    await second.says("yes", "It is gone.")
    assert not (notes / "a.md").exists()


async def test_files_and_emoji(
    notes: Path, installation: Installation, model: ScriptedModel
) -> None:
    terminal = await installation.sit_down()
    model.calls("react_to_message", emoji="👍")
    model.calls("send_file", path="notes/a.md", caption="Here it is.").says("Sent.")
    shown = await terminal.says("send me a", "Memtrix\nSent.")
    assert "Memtrix reacts: 👍" in shown and "Here it is." in shown
    assert str(notes / "a.md") in shown.replace("\n", "")


async def test_other_agents_are_asked_from_here(terminal: Terminal, model: ScriptedModel) -> None:
    model.on("make me a cook").calls("create_agent", name="Dennis", description="Cooks.").says(
        "Dennis is here."
    )
    await terminal.says("make me a cook", "Answer yes")
    await terminal.says("yes", "Dennis is here.")
    model.on(lambda r: r.last_user == "ask Dennis").calls(
        "ask_agent", name="Dennis", question="What is for dinner?"
    ).says("Soup, he says.")
    model.on("What is for dinner?").says("Soup.")
    await terminal.says("ask Dennis", "Soup, he says.")
