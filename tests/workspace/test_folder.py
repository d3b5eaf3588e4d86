"""The workspace on a real disk: links, devices, pipes, hard links and swaps in between."""

import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memtrix_as import config
from memtrix_as.errors import PathRefused, ToolError
from memtrix_as.workspace import Workspace, Workspaces
from tests.test_config import GOOD, write


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    (tmp_path / "ws" / "notes").mkdir(parents=True)
    (tmp_path / "ws" / "memory").mkdir()
    (tmp_path / "ws" / "memory" / "2026-01-01.md").write_text("the journal")
    (tmp_path / "ws" / "AGENT.md").write_text("the core")
    (tmp_path / "ws" / "a.txt").write_text("hello")
    (tmp_path / "ws-evil").mkdir()
    (tmp_path / "ws-evil" / "secret").write_text("the neighbour's")
    return Workspace(tmp_path / "ws")


EVERY: dict[str, Callable[[Workspace, str], object]] = {
    "read": lambda ws, path: ws.read(path, 100),
    "write": lambda ws, path: ws.write(path, b"evil", replace=True),
    "create": lambda ws, path: ws.write(path, b"evil", replace=False),
    "folder": lambda ws, path: ws.make_folder(path),
    "delete": lambda ws, path: ws.delete_file(path),
    "remove": lambda ws, path: ws.delete_folder(path),
    "list": lambda ws, path: ws.entries(path or ".."),
    "exists": lambda ws, path: ws.exists(path),
    "count": lambda ws, path: ws.count(path),
}


def untouched(ws: Workspace) -> bool:
    """Whether all that is not the file tools' own is as it was."""
    return (
        (ws.root / "AGENT.md").read_text() == "the core"
        and (ws.root / "memory" / "2026-01-01.md").read_text() == "the journal"
        and (ws.root.parent / "ws-evil" / "secret").read_text() == "the neighbour's"
        and len(os.listdir(ws.root.parent / "ws-evil")) == 1
    )


def test_files_are_written_and_read(ws: Workspace) -> None:
    ws.write("new/deep/b.txt", b"one", replace=False)
    assert ws.read("new/deep/b.txt", 2) == (b"on", 3)
    with pytest.raises(ToolError, match="exists already"):
        ws.write("new/deep/b.txt", b"two", replace=False)
    ws.write("new/deep/b.txt", b"two", replace=True)
    assert ws.read("new/deep/b.txt", 9) == (b"two", 3)
    assert ws.exists("new/deep") and not ws.exists("new/x") and not ws.exists("x/y")
    assert os.listdir(ws.root / "new" / "deep") == ["b.txt"], "nothing unfinished is left"


@pytest.mark.parametrize("what", EVERY)
@pytest.mark.parametrize("path", ["../ws-evil/secret", "/etc/passwd", "AGENT.md", "memory/x", ""])
def test_nothing_outside_is_touched_by_name(ws: Workspace, what: str, path: str) -> None:
    with pytest.raises(PathRefused):
        EVERY[what](ws, path)
    assert untouched(ws)


@pytest.mark.parametrize("what", EVERY)
@pytest.mark.parametrize(
    "target, path",
    [
        ("../ws-evil", "link/secret"),
        ("../ws-evil", "link/new"),
        ("memory", "link/2026-01-01.md"),
        ("memory", "link"),
        (".", "link/AGENT.md"),
        ("/", "link/etc/passwd"),
        ("/proc/self/root", "link/etc/passwd"),
    ],
)
def test_no_link_leads_anywhere(ws: Workspace, what: str, target: str, path: str) -> None:
    (ws.root / "link").symlink_to(target)
    if what == "delete" and path == "link":
        ws.delete_file(path)  # the link itself, which is all there is of it
    elif what == "exists" and path == "link":
        assert ws.exists(path)
    else:
        with pytest.raises(ToolError) as caught:
            EVERY[what](ws, path)
        assert str(ws.root) not in str(caught.value)
    assert untouched(ws)


def test_a_link_in_place_of_a_file_is_not_followed(ws: Workspace) -> None:
    for target in ("AGENT.md", "memory/2026-01-01.md", "../ws-evil/secret", "nowhere"):
        (ws.root / "notes" / "l").symlink_to(Path("..") / target)
        for what in ("read", "write", "create", "remove"):
            with pytest.raises(ToolError):
                EVERY[what](ws, "notes/l")
        assert untouched(ws)
        assert [e.kind for e in ws.entries("notes")] == ["link"]
        ws.delete_file("notes/l")
        assert untouched(ws) and not (ws.root / "nowhere").exists()


def test_a_hard_link_is_left_alone(ws: Workspace) -> None:
    os.link(ws.root / "AGENT.md", ws.root / "notes" / "hard")
    os.link(ws.root.parent / "ws-evil" / "secret", ws.root / "notes" / "out")
    for path in ("notes/hard", "notes/out"):
        for what in ("read", "write"):
            with pytest.raises(PathRefused, match="hard links"):
                EVERY[what](ws, path)
    ws.delete_file("notes/out")
    assert untouched(ws)


def test_devices_and_pipes_are_not_even_opened(ws: Workspace) -> None:
    os.mkfifo(ws.root / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(ws.root / "sock"))
        begun = time.monotonic()
        for path in ("pipe", "sock"):
            for what in ("read", "write"):
                with pytest.raises(PathRefused, match="no file but"):
                    EVERY[what](ws, path)
    assert time.monotonic() - begun < 2
    assert {e.name: e.kind for e in ws.entries("")}["pipe"] == "other"
    device = Workspace(Path("/dev"))
    with pytest.raises(PathRefused, match="no file but"):
        device.read("zero", 10)


def test_a_link_swapped_in_meanwhile_leads_nowhere(ws: Workspace) -> None:
    """One thread swaps a folder for a link and back, as fast as it can."""
    over = threading.Event()
    (ws.root / "notes" / "mine").write_text("mine")

    def swap() -> None:
        spare = ws.root / "spare"
        spare.symlink_to("../ws-evil")
        while not over.is_set():
            for a, b in (
                ("notes", "kept"),
                ("spare", "notes"),
                ("notes", "spare"),
                ("kept", "notes"),
            ):
                os.rename(ws.root / a, ws.root / b)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        seen = set()
        for _ in range(1500):
            for what, path in (("read", "notes/secret"), ("read", "notes/mine"), ("list", "notes"),
                               ("delete", "notes/secret")):  # fmt: skip
                try:
                    seen.add(str(EVERY[what](ws, path)))
                except ToolError:
                    pass
    finally:
        over.set()
        swapper.join()
    assert untouched(ws)
    assert seen == {"(b'mine', 4)", "[Entry(name='mine', kind='file', size=4)]"}


def test_what_is_not_the_file_tools_is_not_shown(ws: Workspace) -> None:
    assert [(e.name, e.kind, e.size) for e in ws.entries("")] == [
        ("notes", "folder", 0),
        ("a.txt", "file", 5),
    ]


def test_folders_are_made_and_removed(ws: Workspace) -> None:
    assert ws.make_folder("x/y/z") and not ws.make_folder("x/y")
    ws.write("x/y/f", b"1234", replace=False)
    (ws.root / "x" / "out").symlink_to("../../ws-evil")
    assert ws.count("x") == (1, 4)
    ws.delete_folder("x")
    assert not (ws.root / "x").exists() and untouched(ws)
    ws.make_folder("downloads/old")
    with pytest.raises(PathRefused, match="stays"):
        ws.delete_folder("downloads")
    ws.delete_folder("downloads/old")
    for wrong in ("a.txt", "nothing"):
        with pytest.raises(ToolError):
            ws.delete_folder(wrong)
    with pytest.raises(ToolError, match="delete_directory"):
        ws.delete_file("notes")


def test_what_comes_in_gets_a_free_name_or_leaves_nothing(ws: Workspace) -> None:
    names = []
    for _ in range(3):
        with ws.incoming("downloads", "r.pdf") as file:
            file.write(b"data")
        names.append(file.name)
    assert names == ["r.pdf", "r (2).pdf", "r (3).pdf"]
    with pytest.raises(ToolError), ws.incoming("downloads", "r.pdf") as file:
        file.write(b"half")
        raise ToolError("broken off")
    assert sorted(os.listdir(ws.root / "downloads")) == sorted(names)


def test_what_a_crash_has_left_is_swept_away_a_day_later(ws: Workspace) -> None:
    old, new = ws.root / "notes" / ".memtrix-old", ws.root / "notes" / ".memtrix-new"
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (1, 1))
    ws.write("notes/x", b"x", replace=False)
    assert not old.exists() and new.exists()
    assert [e.name for e in ws.entries("notes")] == ["x"]


def test_a_new_folder_is_there_whole_or_not_at_all(ws: Workspace) -> None:
    with ws.new_folder("repo") as new:
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=new.fd))
        assert not (ws.root / "repo").exists()
    assert (ws.root / "repo" / "f").exists()
    with pytest.raises(ToolError, match="exists already"), ws.new_folder("repo"):
        pass
    with pytest.raises(ToolError, match="no"), ws.new_folder("other"):
        raise ToolError("no")
    assert sorted(os.listdir(ws.root)) == ["AGENT.md", "a.txt", "memory", "notes", "repo"]


def test_each_agent_has_its_own(tmp_path: Path) -> None:
    settings = config.load(write(tmp_path, GOOD))
    workspaces = Workspaces(settings)
    assert workspaces.of("memtrix").root == settings.workspace_directory
    assert workspaces.of("den").root == settings.agents_directory / "den"
    for wrong in ("", ".", "..", "../x", "a/b", "a\0"):
        with pytest.raises(ToolError):
            workspaces.of(wrong)


def test_a_file_beyond_what_the_system_allows_is_told_and_leaves_nothing(ws: Workspace) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(ToolError, match="larger than the system allows"):
            ws.write("notes/big", b"x" * 2000, replace=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(ws.root / "notes") == []
