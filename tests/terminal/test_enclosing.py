"""`/attach`: a file of this machine goes to the agent as it would from a Matrix client."""

import os
from pathlib import Path

import pytest

from memtrix_as.errors import AttachmentError
from memtrix_as.terminal.enclosing import enclosed, pieces
from memtrix_as.testing import ScriptedModel
from tests.rig.terminal import Installation, Terminal


def test_what_is_a_file_and_what_are_words(tmp_path: Path) -> None:
    plain, spaced = tmp_path / "a.txt", tmp_path / "Ann's list.txt"
    plain.write_text("x")
    spaced.write_text("yy")
    for line, name, words in (
        (f"/attach {plain}", "a.txt", "a.txt"),
        (f"  !Attach  {plain}  what's this? ", "a.txt", "what's this?"),
        (f'/attach "{spaced}" say\nmore', "Ann's list.txt", "say\nmore"),
        (f"/attach {str(spaced).replace(' ', chr(92) + ' ').replace(chr(39), chr(92) + chr(39))}",
         "Ann's list.txt", "Ann's list.txt"),
    ):  # fmt: skip
        content = enclosed(line, 2)
        assert content and (content["filename"], content["body"]) == (name, words)
    assert enclosed("attach this, please", 2) is None
    assert enclosed("/attachments", 2) is None


@pytest.mark.parametrize("named", ["", "nowhere.txt", '"open', ".", "fifo", "large"])
def test_what_cannot_be_sent(named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    Path("large").write_text("three")
    with pytest.raises(AttachmentError):
        enclosed(f"/attach {named}", 2)


async def test_one_that_is_gone_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(AttachmentError):
        async for _ in pieces((tmp_path / "ö.txt").as_uri()):
            pass


async def test_it_is_kept_and_told_to_the_model(terminal: Terminal, model: ScriptedModel) -> None:
    model.calls("list_directory", path="attachments").says("I see it.")
    folder = terminal.folder
    (folder / "my notes.txt").write_text("The bicycle is blue.")
    await terminal.says('/attach "my notes.txt" what colour?', "I see it.")
    assert "what colour?" in model.requests[0].last_user
    assert "my notes.txt" in model.requests[0].last_user
    kept = list((folder / "workspace" / "attachments").iterdir())
    assert [file.read_text() for file in kept] == ["The bicycle is blue."]
    assert kept[0].name in str(model.requests[1].messages[-1]["content"])
    await terminal.says("/attach nowhere.txt", "nowhere.txt cannot be read: No such file")
    await terminal.says("/help", "/attach PATH sends a file")


async def test_a_script_can_too(installation: Installation, model: ScriptedModel) -> None:
    model.says("A list.")
    (installation.folder / "a.txt").write_text("milk")
    assert (await installation.run("--once", "/attach a.txt what is it?"))[:2] == (0, "A list.\n")
    code, output, errors = await installation.run("--once", "/attach b.txt")
    assert (code, output) == (2, "") and "b.txt cannot be read" in errors
