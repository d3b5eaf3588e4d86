"""Ten thousand hostile paths through the real file tools on a real disk: none gets out."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memtrix_as.errors import ToolError
from memtrix_as.workspace import paths
from tests.rig.tooling import Bench

SECRET = "the neighbour's diary"
# What stands around and within agents/den: siblings whose names begin alike, and ways out.
OUTSIDE = [
    "dennis/memory/2026-01-01.md",
    "dennis/secret",
    "den-evil/secret",
    "de/secret",
    "secret",
    "dennis/zz-outside",
    "den-evil/zz-outside",
    "zz-outside",
    "den/memory/zz-outside",
]
OURS = ["AGENT.md", "USER.md", "memory/2026-01-01.md"]  # Den's own, and not the file tools'
LINKS = {
    "up": "..", "root": "/", "abs": "{agents}/dennis", "proc": "/proc/self/root{agents}/dennis",
    "sibling": "../dennis", "file": "../dennis/secret", "core": "AGENT.md", "days": "memory",
    "chain": "up", "loop": "loop", "new": "../den-evil/new", "fd": "/proc/self/fd",
}  # fmt: skip


class Den:
    """The folder of the agent Den among its neighbours, set up again whenever it was changed."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder)
        self.agents = self.bench.agents
        self.root = self.agents / "den"
        for path in OUTSIDE:
            _put(self.agents / path)
        for path in OURS:
            _put(self.root / path)
        self.furnish()
        self.before = self.around()

    def furnish(self) -> None:
        """What a repository, an archive or a friend may have put there."""
        for name, target in LINKS.items():
            for at in (self.root, self.root / "d"):
                at.mkdir(exist_ok=True)
                if not (at / name).is_symlink():
                    inside = name in ("core", "days") or target.startswith("..")
                    up = "../" if at != self.root and inside else ""
                    (at / name).symlink_to(up + target.format(agents=self.agents))
        for name, make in (("hard", self._hard), ("pipe", os.mkfifo)):
            if not os.path.lexists(self.root / name):
                make(self.root / name)
        if not (self.root / "plain").exists():
            (self.root / "plain").write_text("Den's")
        known = {*LINKS, "hard", "pipe", "plain", "d", "memory", "AGENT.md", "USER.md"}
        if len(made := set(os.listdir(self.root)) - known) > 30:
            for name in made:
                at = self.root / name
                shutil.rmtree(at) if at.is_dir() and not at.is_symlink() else at.unlink()

    def _hard(self, path: Path) -> None:
        os.link(self.agents / "dennis/secret", path)

    def around(self) -> list[tuple[object, ...]]:
        """All that is not Den's to touch: names, contents, owners' times."""
        found: list[tuple[object, ...]] = [(sorted(os.listdir(self.agents.parent)),)]
        for path in (*OUTSIDE, *(f"den/{own}" for own in OURS)):
            at = self.agents / path
            stat = at.lstat()
            found.append((path, at.read_text(), stat.st_mtime_ns, stat.st_mode))
            if at.parent != self.root:
                found.append((path, sorted(os.listdir(at.parent))))
        return found


def _put(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(SECRET)


async def _sends(den: Den, path: str) -> str:
    """What `send_file` opens."""
    with den.bench.workspaces.of("den").opened(path) as (file, _):
        return file.read().decode()


async def _arrives(den: Den, name: str) -> str:
    """What a download or an attachment of that name becomes."""
    safe = paths.safe_name(name, "file")
    with den.bench.workspaces.of("den").incoming("downloads", safe) as file:
        file.write(b"evil")
    return file.name


async def _clones(den: Den, path: str) -> str:
    with den.bench.workspaces.of("den").new_folder(path) as folder:
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=folder.fd))
    return ""


def _tool(name: str, **more: Any) -> Callable[[Den, str], Any]:
    return lambda den, path: den.bench.call(name, agent="den", path=path, **more)


WAYS: dict[str, Callable[[Den, str], Any]] = {
    "read": _tool("read_file"), "create": _tool("create_file", content="evil"),
    "delete": _tool("delete_file"), "folder": _tool("create_directory"),
    "list": _tool("list_directory"), "remove": _tool("delete_directory"),
    "send": _sends, "arrive": _arrives, "clone": _clones,
}  # fmt: skip

NAME = st.one_of(
    st.sampled_from(["..", "..", ".", "", "dennis", "den", "den-evil", "secret", "memory", "d",
                     "2026-01-01.md", "plain", "hard", "pipe", "new", "etc", "passwd"]),
    st.sampled_from(list(LINKS)),
    st.sampled_from(["MEMORY", "Memory ", "memory.", "\uff4demory", "mem\u00adory", "AGENT.md",
                     "agent.MD", "\uff21GENT.md", "AG\u200bENT.md", "USER.md::$DATA"]),
    st.sampled_from(["..\\", "\\", "\0", "a\0b", "~", "~root", "%2e%2e", "..%2f",
                     "\uff0e\uff0e", "\u2025", "\u2024.", ".. ", "..\u200b", "C:", "CON",
                     "\x7f", "\u202e..", "-rf", "$HOME", "*"]),
    st.sampled_from(["x" * 255, "x" * 256, "ä" * 128]),
    st.text(max_size=4),
)  # fmt: skip
PATH = st.builds(
    lambda before, names, between, after: before + between.join(names) + after,
    st.sampled_from(["", "", "", "/", "./", "//", "{agents}/", "/proc/self/cwd/"]),
    st.lists(NAME, min_size=1, max_size=6),
    st.sampled_from(["/", "/", "/", "//", "/./", "\\"]),
    st.sampled_from(["", "", "/", "/.", "/..", " "]),
)


@pytest.fixture
def den(tmp_path: Path) -> Den:
    return Den(tmp_path)


@settings(
    max_examples=10_000,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(way=st.sampled_from(list(WAYS)), path=PATH)
@example(way="read", path="up/dennis/secret")
@example(way="read", path="hard")
@example(way="remove", path="sibling")
@example(way="create", path="new")
@example(way="list", path="days")
async def test_no_path_gets_out(den: Den, way: str, path: str) -> None:
    said = ""
    try:
        said = str(await WAYS[way](den, path.replace("{agents}", str(den.agents))))
    except ToolError as exc:
        assert str(den.agents) not in str(exc) or "{agents}" in path
        assert len(str(exc)) < 400 and "\n" not in str(exc)
    assert SECRET not in said and "zz-outside" not in said
    assert den.around() == den.before
    den.furnish()
