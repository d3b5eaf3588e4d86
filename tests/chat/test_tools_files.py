"""The file tools in a real room: what each does, what each refuses, and how much at once."""

import os
from pathlib import Path

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.asking import Row, permitted, tells, told
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.papers import pdf
from tests.rig.service import Service

pytestmark = only("direct")


@pytest.fixture
async def service(stopped: Service) -> Service:
    """The service, with a model that has room for so many calls."""
    stopped.set("models.test-model.context", 200_000)
    await stopped.start()
    return stopped


@pytest.fixture
def files(service: Service) -> Path:
    """The main agent's folder, with what a stranger may have put there."""
    root = service.folder / "workspace"
    (root / "folder").mkdir(parents=True)
    (root / "a.txt").write_text("hello")
    (root / "noise.bin").write_bytes(bytes(range(256)) * 20)
    (root / "p.pdf").write_bytes(pdf("On paper."))
    (root / "broken.pdf").write_bytes(pdf("x")[:40])
    (service.folder / "secret.txt").write_text("4711")
    (root / "link").symlink_to("../secret.txt")
    (root / "out").symlink_to("..")
    os.link(service.folder / "secret.txt", root / "hard")
    os.mkfifo(root / "pipe")
    return root


def there(folder: Path) -> dict[str, int]:
    """What is in a folder, and that it is the same thing still."""
    return {path.name: path.lstat().st_ino for path in folder.iterdir()}


async def test_each_does_what_it_says(chat: Chat, files: Path, model: ScriptedModel) -> None:
    await tells(
        chat,
        model,
        ("create_directory", {"path": "p/q"}, "Made the folder p/q."),
        ("create_directory", {"path": "p/q"}, "was there already"),
        ("create_file", {"path": "p/q/b.txt", "content": "wörds"}, "Wrote p/q/b.txt: 6 bytes."),
        ("list_directory", {"path": "p/q"}, "b.txt  6 bytes"),
        ("read_file", {"path": "p/q/b.txt"}, "\nwörds\n"),
        ("read_file", {"path": "p.pdf"}, "[page 1]\nOn paper."),
        ("list_directory", {}, "link  (a link, which is not followed)"),
    )
    asked, done = await permitted(chat, model, "create_file", path="p/q/b.txt", content="new")
    assert "replaces the file p/q/b.txt, which has 6 bytes" in asked and "Replaced" in done
    assert (files / "p/q/b.txt").read_text() == "new"
    asked, done = await permitted(chat, model, "delete_file", path="p/q/b.txt")
    assert "deletes the file p/q/b.txt, which has 3 bytes" in asked
    assert done == "Deleted p/q/b.txt." and not (files / "p/q/b.txt").exists()
    asked, done = await permitted(chat, model, "delete_directory", path="p")
    assert "the folder p with 0 files" in asked and done == "Deleted the folder p."
    assert not (files / "p").exists()
    await permitted(chat, model, "delete_file", path="link")
    assert not (files / "link").is_symlink() and (files.parent / "secret.txt").exists()


async def test_always_is_leave_to_replace(chat: Chat, files: Path, model: ScriptedModel) -> None:
    await permitted(chat, model, "create_file", "always", path="a.txt", content="second")
    await tells(
        chat, model, ("create_file", {"path": "a.txt", "content": "third"}, "Replaced a.txt")
    )
    assert (files / "a.txt").read_text() == "third"


async def test_what_does_not_fit_is_told_to_the_model(
    chat: Chat, files: Path, model: ScriptedModel
) -> None:
    with (files / "ballast").open("wb") as file:
        file.truncate(2_000_000_000)
    full = "There is no room for this in the workspace: 2,000."
    await tells(chat, model, ("create_file", {"path": "b.txt", "content": "x"}, full))
    await tells(chat, model, ("create_directory", {"path": "b"}, full))
    assert not (files / "b.txt").exists() and not [n for n in os.listdir(files) if ".memtrix" in n]
    await permitted(chat, model, "delete_file", path="ballast")
    await tells(chat, model, ("create_file", {"path": "b.txt", "content": "x"}, "Wrote b.txt"))


async def test_a_no_leaves_all_as_it_was(chat: Chat, files: Path, model: ScriptedModel) -> None:
    for name, arguments in (
        ("create_file", {"path": "a.txt", "content": "new"}),
        ("delete_file", {"path": "a.txt"}),
        ("delete_directory", {"path": "folder"}),
    ):
        _, said = await permitted(chat, model, name, "no", **arguments)
        assert "the human said no" in said
    assert (files / "a.txt").read_text() == "hello" and (files / "folder").is_dir()


async def test_what_has_grown_since_the_yes_stays(
    chat: Chat, files: Path, model: ScriptedModel
) -> None:
    """The human said yes to an empty folder."""
    model.calls("delete_directory", path="folder")
    await chat.send("away with it")
    await chat.until(lambda: chat.notices() or None, "the question")
    (files / "folder" / "thesis.txt").write_text("years of work")
    model.says("It has grown.")
    await chat.send("yes")
    assert await chat.reply() == "It has grown."
    assert (files / "folder" / "thesis.txt").exists()


LEADS_OUT = [("../secret.txt", ".. in it"), ("/etc/passwd", "absolute"), ("out/secret.txt", "link"),
             ("a\x07b", "control characters"), ("a\\b", "backslash"), ("x" * 256, "255 bytes"),
             ("d/" * 40 + "x", "deeper than 32")]  # fmt: skip
TAKEN = [("USER.md", "_core_file"), ("agent.MD", "_core_file"), ("memory/2026-01-01.md", "journal"),
         ("\uff4demory/x", "journal")]  # fmt: skip
BY_PATH = ("read_file", "create_file", "delete_file", "create_directory", "list_directory",
           "delete_directory")  # fmt: skip
OWN: list[Row] = [
    ("read_file", {"path": "link"}, "is a link"),
    ("read_file", {"path": "hard"}, "hard links"),
    ("read_file", {"path": "pipe"}, "a device, a pipe or a socket"),
    ("read_file", {"path": "gone.txt"}, "There is no 'gone.txt'"),
    ("read_file", {"path": "folder"}, "is a folder"),
    ("read_file", {"path": "noise.bin"}, "neither text nor PDF"),
    ("read_file", {"path": "broken.pdf"}, "is damaged"),
    ("read_file", {"path": "a.txt", "offset": "x"}, "its arguments are wrong: offset"),
    ("read_file", {}, "its arguments are wrong: path"),
    ("create_file", {"path": "link", "content": "x"}, "is a link"),
    ("create_file", {"path": "hard", "content": "x"}, "hard links"),
    ("create_file", {"path": "pipe", "content": "x"}, "a device, a pipe or a socket"),
    ("create_file", {"path": "folder", "content": "x"}, "is a folder"),
    ("create_file", {"path": "a.txt/b", "content": "x"}, "leads through a file"),
    ("create_file", {"path": "b.txt"}, "its arguments are wrong: content"),
    ("delete_file", {"path": "gone.txt"}, "There is no 'gone.txt'"),
    ("delete_file", {"path": "folder"}, "Use delete_directory"),
    ("create_directory", {"path": "a.txt"}, "leads through a file"),
    ("list_directory", {"path": "a.txt"}, "leads through a file"),
    ("list_directory", {"path": "out"}, "link"),
    ("list_directory", {"path": "gone"}, "There is no 'gone'"),
    ("delete_directory", {"path": "gone"}, "There is no 'gone'"),
    ("delete_directory", {"path": "a.txt"}, "leads through a file"),
    ("delete_directory", {"path": "out"}, "link"),
    ("delete_directory", {"path": "."}, "names no file"),
    ("delete_directory", {"path": "attachments"}, "itself stays"),
    ("delete_directory", {"path": "downloads/"}, "itself stays"),
]


async def test_each_refuses_what_it_must(chat: Chat, files: Path, model: ScriptedModel) -> None:
    before = there(files)
    paths = LEADS_OUT + TAKEN
    for name in BY_PATH:
        content = {"content": "evil"} if name == "create_file" else {}
        await tells(chat, model, *((name, {"path": p} | content, why) for p, why in paths))
    await tells(chat, model, *OWN)
    assert there(files) == before
    assert (files / "a.txt").read_text() == "hello"
    assert (files.parent / "secret.txt").read_text() == "4711"
    assert not [r for r in model.requests if "4711" in str(r.messages)]


async def test_each_keeps_its_bound(chat: Chat, files: Path, model: ScriptedModel) -> None:
    (files / "long.txt").write_text("word " * 20_000)
    (files / "huge.pdf").write_bytes(pdf("x") + bytes(20_000_000))
    (files / "huge.txt").write_bytes(b"x" * 20_000_001)
    (files / "many").mkdir()
    for n in range(501):
        (files / "many" / f"{n:03}").touch()
    first, most, last, more, paper, listed, rest = await told(
        chat,
        model,
        ("read_file", {"path": "long.txt"}),
        ("read_file", {"path": "long.txt", "limit": 10**9}),
        ("read_file", {"path": "long.txt", "offset": 99_000}),
        ("read_file", {"path": "huge.txt", "offset": 20_000_000}),
        ("read_file", {"path": "huge.pdf"}),
        ("list_directory", {"path": "many"}),
        ("list_directory", {"path": "many", "offset": 500}),
    )
    assert "(characters 0 to 6000 of 100000; read on with offset=6000)" in first
    assert "(characters 0 to 50000 of 100000; read on with offset=50000)" in most
    assert "this is the end" in last and "only the first 20.0 MB of 20.0 MB" in more
    assert "only PDFs up to 20 MB" in paper
    assert "(500 of 501 entries; read on with offset=500)" in listed and "\n500  0 bytes" in rest
    too_long = {"path": "big.txt", "content": "x" * 1_000_001}
    await tells(chat, model, ("create_file", too_long, "at most 1 MB"))
    assert not (files / "big.txt").exists()
