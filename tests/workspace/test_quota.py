"""What a workspace may hold: for single files and for pieces, for threads and for processes."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from memtrix_as import config
from memtrix_as.errors import ToolError, WorkspaceFull
from memtrix_as.workspace import Workspace, Workspaces
from memtrix_as.workspace.quota import BLOCK, Quota
from tests.test_config import GOOD, write

MOST = 100 * BLOCK


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    root = tmp_path / "ws"
    root.mkdir()
    return Workspace(root, Quota(root, MOST))


def fill(ws: Workspace, size: int, name: str = "ballast") -> Path:
    """Somebody else, a human say, puts a file there."""
    path = ws.root / name
    with path.open("wb") as file:
        file.truncate(size)
    return path


def left(ws: Workspace) -> list[str]:
    return sorted(str(path.relative_to(ws.root)) for path in ws.root.rglob("*"))


def test_what_does_not_fit_is_refused_with_figures_and_the_way_out(ws: Workspace) -> None:
    fill(ws, 90 * BLOCK)
    ws.write("a", b"x" * 10 * BLOCK, replace=False)
    with pytest.raises(WorkspaceFull) as caught:
        ws.write("b", b"x", replace=False)
    assert "0.4 of 0 MB are used" in str(caught.value)
    assert "Delete" in str(caught.value) and "limits.workspace_size" in str(caught.value)
    with pytest.raises(WorkspaceFull):
        ws.make_folder("f")
    assert left(ws) == ["a", "ballast"]


def test_a_file_counts_minus_the_one_that_it_replaces(ws: Workspace) -> None:
    fill(ws, 50 * BLOCK)
    ws.write("a", b"x" * 50 * BLOCK, replace=False)
    for size in (50, 10, 50):
        ws.write("a", b"y" * size * BLOCK, replace=True)
    with pytest.raises(WorkspaceFull):
        ws.write("a", b"z" * 51 * BLOCK, replace=True)
    assert ws.read("a", 1) == (b"y", 50 * BLOCK), "what was there is whole"
    assert left(ws) == ["a", "ballast"]


def test_a_workspace_that_holds_too_much_can_still_shrink(ws: Workspace) -> None:
    fill(ws, 2 * MOST)
    fill(ws, 10 * BLOCK, "a")
    ws.write("a", b"x" * 9 * BLOCK, replace=True)
    with pytest.raises(WorkspaceFull):
        ws.write("a", b"x" * 10 * BLOCK, replace=True)


def test_what_a_human_deletes_is_seen_at_once(ws: Workspace) -> None:
    ballast = fill(ws, MOST)
    for _ in range(2):
        with pytest.raises(WorkspaceFull):
            ws.write("a", b"x", replace=False)
    ballast.unlink()
    ws.write("a", b"x", replace=False)


def test_pieces_are_stopped_where_the_room_ends(ws: Workspace) -> None:
    fill(ws, 90 * BLOCK)
    written = 0
    with pytest.raises(WorkspaceFull), ws.incoming("downloads", "x") as file:
        for _ in range(200):
            file.write(b"x" * BLOCK)
            written += 1
    assert written == 9, "one block is the folder's"
    assert left(ws) == ["ballast", "downloads"]
    ws.write("a", b"x" * 9 * BLOCK, replace=False)  # what was broken off holds no room


def test_many_small_files_are_counted_all(ws: Workspace) -> None:
    """More than the 10,000 after which counting for a question stops, and each a block at least."""
    many = Workspace(ws.root, Quota(ws.root, 10_050 * BLOCK))
    for n in range(40):
        (ws.root / f"{n}").mkdir()
        for m in range(250):
            (ws.root / f"{n}" / f"{m}").touch()
    many.write("a", b"x" * 10 * BLOCK, replace=False)
    with pytest.raises(WorkspaceFull):
        many.write("b", b"", replace=False)
    assert many.extent() == (10_001, 10 * BLOCK)


def test_threads_together_take_no_more_than_there_is(ws: Workspace) -> None:
    """All have begun before any has finished, so that no count can see the others' files."""
    begun, done = threading.Barrier(10), []

    def download(n: int) -> None:
        try:
            with ws.incoming("downloads", f"{n}") as file:
                file.write(b"x" * BLOCK)
                begun.wait(10)
                for _ in range(14):
                    file.write(b"x" * BLOCK)
            done.append(n)
        except WorkspaceFull:
            pass

    threads = [threading.Thread(target=download, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ws.quota.used() <= MOST
    assert 0 < len(done) <= 6
    assert left(ws) == ["downloads", *sorted(f"downloads/{n}" for n in done)]


def test_a_count_is_kept_for_a_while(ws: Workspace) -> None:
    """A walk for each write would make many files dear: only the first of these counts."""
    walks: list[int] = []

    class Watched(Quota):
        def _walk(self) -> int:
            walks.append(1)
            return super()._walk()

    watched = Workspace(ws.root, Watched(ws.root, MOST))
    for n in range(50):
        watched.write(f"{n}", b"x", replace=False)
    assert len(walks) == 1


OTHER = """
import sys
from pathlib import Path
from memtrix_as.errors import WorkspaceFull
from memtrix_as.workspace import Workspace
from memtrix_as.workspace.quota import Quota
root = Path(sys.argv[1])
ws, n = Workspace(root, Quota(root, int(sys.argv[2]))), 0
ws.write(sys.argv[3] + "first", b"", replace=False)
print("ready", flush=True)
sys.stdin.readline()
try:
    while n < 1000:
        ws.write(f"{sys.argv[3]}{n}", b"x" * 4096, replace=False)
        n += 1
except WorkspaceFull:
    pass
print(n)
"""


def test_processes_overshoot_by_what_they_have_not_seen_at_most(ws: Workspace) -> None:
    ones = [
        subprocess.Popen([sys.executable, "-c", OTHER, str(ws.root), str(MOST), name], text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for name in "ab"
    ]  # fmt: skip
    for one in ones:
        assert one.stdout and one.stdout.readline() == "ready\n"
    written = [int(one.communicate("\n")[0]) for one in ones]
    assert 99 <= sum(written) + 2 <= 200 and all(n < 100 for n in written)
    with pytest.raises(WorkspaceFull):
        ws.write("c", b"x", replace=False)


def test_no_limit_is_none(tmp_path: Path) -> None:
    good = f"{GOOD}limits: {{workspace_size: 0}}\n"
    workspace = Workspaces(config.load(write(tmp_path, good))).of("den")
    fill_root = workspace.root
    fill_root.mkdir(parents=True)
    fill(workspace, 10**12)
    workspace.write("a", b"x", replace=False)


def test_the_limit_is_each_agents_own(tmp_path: Path) -> None:
    workspaces = Workspaces(config.load(write(tmp_path, f"{GOOD}limits: {{workspace_size: 1}}\n")))
    den, ann = workspaces.of("den"), workspaces.of("ann")
    den.write("a", b"x" * 999_000, replace=False)
    with pytest.raises(WorkspaceFull):
        workspaces.of("den").write("b", b"x" * 9_000, replace=False)
    ann.write("a", b"x" * 999_000, replace=False)


def test_a_name_is_free_again_when_its_file_cannot_come(ws: Workspace) -> None:
    """The unfinished file is taken away by somebody: nothing of its name may be left."""
    with pytest.raises(ToolError), ws.incoming("downloads", "r.pdf") as file:
        file.write(b"data")
        os.unlink(ws.root / "downloads" / file.temporary)
    assert left(ws) == ["downloads"]


@pytest.mark.parametrize("most", [0, MOST])
async def test_a_thread_that_still_writes_does_no_harm_when_its_turn_is_over(
    tmp_path: Path, most: int
) -> None:
    """Its descriptor is closed, and another file may have the number by then."""
    ws, going = Workspace(tmp_path / "ws", Quota(tmp_path / "ws", most)), threading.Event()

    def late() -> None:
        going.wait(10)
        time.sleep(0.05)
        file.write(b"evil")

    async def turn() -> None:
        nonlocal file
        with ws.incoming("downloads", "x") as file:
            file.write(b"x")
            await asyncio.to_thread(late)

    file = None  # type: ignore[assignment]
    task = asyncio.create_task(turn())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert file is not None
    foreign = os.open(tmp_path / "foreign", os.O_CREAT | os.O_WRONLY)
    try:
        assert foreign == file.fd, "the number is used again, as it must be to show anything"
        going.set()
        with pytest.raises(ToolError, match="broken off"):
            file.write(b"evil")
        await asyncio.sleep(0.3)
        assert os.fstat(foreign).st_size == 0
    finally:
        os.close(foreign)
    assert left(ws) == ["downloads"]


def test_a_full_disk_is_told_and_leaves_nothing(ws: Workspace) -> None:
    with pytest.raises(ToolError, match="The disk is full"), ws.incoming("d", "x") as file:
        os.dup2(full := os.open("/dev/full", os.O_WRONLY), file.fd)
        os.close(full)
        file.write(b"x")
    assert left(ws) == ["d"]
    assert ws.quota._claimed == 0
