"""Cloning repositories that hold more than files, from servers that are none."""

import json
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dulwich.object_format import DEFAULT_OBJECT_FORMAT
from dulwich.pack import write_pack_objects

from memtrix_as.errors import AddressRefused, OutboundError, ToolError, WorkspaceFull
from memtrix_as.outbound import git_child
from memtrix_as.outbound.git import Cloned, clone
from memtrix_as.workspace import Workspace
from memtrix_as.workspace.quota import BLOCK, Quota
from tests.rig.repository import FILE, FOLDER, LINK, MODULE, GitServer, Repository
from tests.rig.tooling import Bench
from tests.rig.web import Web

Serve = Callable[[Repository], str]
CHILD = Path(git_child.__file__)


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers = []

    def start(repository: Repository) -> str:
        servers.append(GitServer(repository))
        return servers[-1].url

    yield start
    for server in servers:
        server.stop()


async def cloned(web: Web, root: Path, url: str) -> Cloned:
    with Workspace(root).new_folder("repo") as folder:
        return await clone(web.outbound(), url, folder.fd, folder.room)


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root / "repo")): path.read_bytes()
        for path in (root / "repo").rglob("*")
        if path.is_file() and not path.is_symlink()
    }


async def test_the_newest_files_are_copied(web: Web, tmp_path: Path, serve: Serve) -> None:
    repository = Repository()
    repository.add(b"README.md", b"hello " * 1000)
    inner = repository.tree((b"a.py", 0o100755, repository.blob(b"a")))
    repository.root.add(b"src", FOLDER, inner)
    repository.commit()
    repository.add(b"README.md", b"hello " * 1000 + b"again")  # a delta of the first
    repository.add(b"empty", b"")
    commit = repository.commit()
    told = await cloned(web, tmp_path, serve(repository))
    assert told == Cloned(commit, 3, 6006, 0, 0, 0, 0)
    assert files(tmp_path)["README.md"].endswith(b"again")
    assert sorted(files(tmp_path)) == ["README.md", "empty", "src/a.py"]
    assert not os.access(tmp_path / "repo" / "src" / "a.py", os.X_OK) or os.geteuid() == 0


async def test_only_plain_files_are_written(web: Web, tmp_path: Path, serve: Serve) -> None:
    repository = Repository()
    repository.add(b"fine", b"fine")
    repository.add(b"core", b"../AGENT.md", LINK)
    repository.add(b"passwd", b"/etc/passwd", LINK)
    repository.root.add(b"module", MODULE, b"1" * 40)
    repository.add(b".gitattributes", b"* filter=lfs")
    repository.add(b".gitmodules", b'[submodule "x"]\n\tpath = x\n\turl = http://127.0.0.1/')
    repository.add(b"large", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    for name in (b"..", b".", b".git", b".GIT", b"git~1", b".g\xe2\x80\x8cit", b"a\\b", b".git ",
                 b"line\nbreak", b"\xff\xfe", b"x" * 256, b"../up", b"/etc/cron"):  # fmt: skip
        repository.add(name, b"evil")
    hooks = repository.tree((b"post-checkout", 0o100755, repository.blob(b"#!/bin/sh\n")))
    repository.root.add(b".Git", FOLDER, repository.tree((b"hooks", FOLDER, hooks)))
    repository.commit()
    (tmp_path / "AGENT.md").write_text("the core")
    told = await cloned(web, tmp_path, serve(repository))
    assert sorted(files(tmp_path)) == [".gitattributes", ".gitmodules", "fine", "large"]
    assert (told.links, told.modules, told.names, told.lfs) == (2, 1, 14, 1)
    assert not [p for p in (tmp_path / "repo").rglob("*") if p.is_symlink()]
    assert sorted(os.listdir(tmp_path)) == ["AGENT.md", "repo"]
    assert not web.trapped


async def test_a_link_and_a_folder_of_one_name_lead_nowhere(
    web: Web, tmp_path: Path, serve: Serve
) -> None:
    """A tree may hold one name twice: first as a link to outside, then as a folder."""
    repository = Repository()
    link, evil = repository.blob(b".."), repository.tree((b"f", FILE, repository.blob(b"evil")))
    raw = b"120000 a\0" + bytes.fromhex(link.decode()) + b"40000 a\0" + bytes.fromhex(evil.decode())
    repository.root = type(repository.root).from_string(raw)
    repository.commit()
    told = await cloned(web, tmp_path, serve(repository))
    assert files(tmp_path) == {"a/f": b"evil"} and told.files == 1
    assert os.listdir(tmp_path) == ["repo"]


async def test_what_is_too_much_leaves_nothing(web: Web, tmp_path: Path, serve: Serve) -> None:
    repository = Repository()
    below = repository.tree((b"f", FILE, repository.blob(b"x")))
    for _ in range(10):  # ten folders of ten folders of ten folders …
        below = repository.tree(*((b"%d" % n, FOLDER, below) for n in range(10)))
    repository.root.add(b"bomb", FOLDER, below)
    repository.commit()
    with pytest.raises(OutboundError, match="more than 5000 files"):
        await cloned(web, tmp_path, serve(repository))
    zeros = Repository()
    for n in range(3):
        zeros.add(b"%d" % n, bytes([n]) * 40_000_000)
    zeros.commit()
    with pytest.raises(OutboundError, match="more than 100 MB"):
        await cloned(web, tmp_path, serve(zeros))
    assert not os.listdir(tmp_path)


async def test_the_room_that_is_left_is_the_limit(web: Web, tmp_path: Path, serve: Serve) -> None:
    """Small files count as blocks: a thousand empty ones fill a disk as well."""
    workspace = Workspace(tmp_path, Quota(tmp_path, 20 * BLOCK))
    for count, fits in ((20, False), (18, True)):
        repository = Repository()
        for n in range(count):
            repository.add(b"%d" % n, b"%d" % n)
        repository.root.add(b"folder", FOLDER, repository.tree((b"f", FILE, repository.blob(b""))))
        repository.commit()
        url = serve(repository)
        try:
            with workspace.new_folder("repo") as folder:
                await clone(web.outbound(), url, folder.fd, folder.room)
            assert fits
        except OutboundError as exc:
            assert not fits and "more than the 0.1 MB that are left in the workspace" in str(exc)
            assert not os.listdir(tmp_path)
    assert len(files(tmp_path)) == 19
    with pytest.raises(WorkspaceFull):
        workspace.write("more", b"x", replace=False)


async def test_a_disk_that_is_full_under_a_clone_is_told_as_that(
    web: Web, tmp_path: Path, serve: Serve
) -> None:
    repository = Repository()
    repository.add(b"f", os.urandom(400_000))
    repository.commit()
    url, before = serve(repository), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(OutboundError, match=r"kept on this machine: File too large\.$"):
            await cloned(web, tmp_path, url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not os.listdir(tmp_path)


def test_a_disk_that_is_full_under_the_child_is_told_as_that(tmp_path: Path) -> None:
    """What it writes is larger than its pack, and the limit is the system's."""
    repository = Repository()
    repository.add(b"f", b"x" * 100_000)
    commit = repository.commit()
    store = repository.repo.object_store
    with (tmp_path / "pack").open("w+b") as pack:
        write_pack_objects(pack, [store[sha] for sha in store], DEFAULT_OBJECT_FORMAT)
        pack.seek(0)
        out = tmp_path / "out"
        out.mkdir()
        fd = os.open(out, os.O_RDONLY)
        limited = "ulimit -f 8; exec " + shlex.join(
            [sys.executable, "-I", str(CHILD), commit, str(fd), "1000000000"]
        )
        told = subprocess.run(
            ["sh", "-c", limited], stdin=pack, pass_fds=(fd,), capture_output=True, check=True
        )
        os.close(fd)
    assert json.loads(told.stdout) == {"problem": "a file of it is larger than the system allows"}


async def test_a_redirect_is_followed_but_not_inside(
    web: Web, tmp_path: Path, serve: Serve
) -> None:
    repository = Repository()
    repository.add(b"f", b"x")
    repository.commit()
    web.redirect("/moved/info/refs", serve(repository) + "/info/refs?service=git-upload-pack")
    assert (await cloned(web, tmp_path, web.url("/moved"))).files == 1
    web.redirect("/in/info/refs", web.url("/x/info/refs", "trap.test"))
    for url in (web.url("/in"), web.url("/x", "trap.test"), web.url("/x", "127.0.0.1")):
        with pytest.raises(AddressRefused):
            with Workspace(tmp_path).new_folder("other") as folder:
                await clone(web.outbound(), url, folder.fd)
    assert not web.trapped and os.listdir(tmp_path) == ["repo"]


def refs(*lines: bytes) -> bytes:
    return b"".join(b"%04x%s" % (len(line) + 4, line) for line in lines) + b"0000"


ABLE = b"\0shallow side-band-64k ofs-delta\n"


@pytest.mark.parametrize(
    "first, second",
    [
        (b"<html>", b""),
        (b"", b""),
        (b"ffff", b""),
        (b"0006ab", b""),
        (refs(b"# service=git-upload-pack\n"), b""),
        (refs(b"0" * 40 + b" capabilities^{}" + ABLE), b""),
        (refs(b"a" * 64 + b" HEAD" + ABLE), b""),
        (refs(b"a" * 40 + b" HEAD\0multi_ack\n"), b""),
        (refs(b"a" * 40 + b" HEAD" + ABLE), b""),
        (refs(b"a" * 40 + b" HEAD" + ABLE), refs(b"ERR go away\n")),
        (refs(b"a" * 40 + b" HEAD" + ABLE), refs(b"NAK\n", b"\x03no")),
        (refs(b"a" * 40 + b" HEAD" + ABLE), refs(b"NAK\n")),
        (refs(b"a" * 40 + b" HEAD" + ABLE), refs(b"NAK\n", b"\x01PACK" + b"\0" * 40)),
        (refs(b"a" * 40 + b" HEAD" + ABLE), refs(b"NAK\n", b"\x01" + b"x" * 5000)),
    ],
)
async def test_what_is_no_git_server_is_told(
    web: Web, tmp_path: Path, first: bytes, second: bytes
) -> None:
    web.page("/r/info/refs", first)
    web.page("/r/git-upload-pack", second)
    with pytest.raises(OutboundError) as caught:
        await cloned(web, tmp_path, web.url("/r"))
    assert "go away" not in str(caught.value) and not os.listdir(tmp_path)


async def test_no_repository(web: Web, tmp_path: Path) -> None:
    with pytest.raises(OutboundError, match="no public repository"):
        await cloned(web, tmp_path, web.url("/nothing"))


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org/a/b", "file:///etc", "/etc", "git@example.org:a/b", "ssh://x/y"),
        *("ext::sh -c id", "--upload-pack=id", "https://example.org", "https://x.org/a?b=c", ""),
        *("https://x.org/a b", "https://x.org/a#b", "git://example.org/a", "https://x.org\\y/z"),
    ],
)
async def test_only_https_is_cloned(bench: Bench, url: str) -> None:
    for call in (bench.call, bench.question):
        with pytest.raises(ToolError, match="https address"):
            await call("git_clone", url=url)


@pytest.mark.parametrize("directory", ["../x", "/tmp/x", "memory", "AGENT.md", "a/../../b"])
async def test_the_target_is_in_the_workspace(bench: Bench, directory: str) -> None:
    for call in (bench.call, bench.question):
        with pytest.raises(ToolError):
            await call("git_clone", url="https://example.org/a/b", directory=directory)


async def test_the_question_says_what_will_happen(bench: Bench) -> None:
    question = await bench.question("git_clone", url="https://example.org/a/project.git")
    assert question and "https://example.org/a/project.git into the folder project" in question
    bench.put("project/x", "")
    with pytest.raises(ToolError, match="exists already"):
        await bench.question("git_clone", url="https://example.org/a/project.git")


async def test_nothing_inside_is_cloned(bench: Bench, web: Web) -> None:
    for host in ("127.0.0.1", "trap.test", "localhost", "user:pw@ok.test"):
        with pytest.raises(AddressRefused):
            await bench.call("git_clone", url=f"https://{host}:{web.port}/a/b")
    assert not web.trapped and not web.requests and not os.listdir(bench.root)
