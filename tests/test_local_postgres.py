"""The embedded PostgreSQL as a service sees it: kept data, one user, and no orphans."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from memtrix_as.errors import LocalPartError
from memtrix_as.local import postgres
from memtrix_as.local.postgres import EmbeddedPostgres

CHILD = """
import asyncio, sys
from pathlib import Path
from memtrix_as.local.postgres import EmbeddedPostgres

async def main():
    async with EmbeddedPostgres(Path(sys.argv[1]), durable=False) as database:
        print(database.dsn, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def ask(dsn: str, *statements: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            answer = await connection.fetchval(statement)
        return answer
    finally:
        await connection.close()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def folder() -> Iterator[Path]:
    """Below a folder that only we may enter, with a space in its name."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name) / "my data" / "postgres"


async def test_data_survives_a_restart(folder: Path) -> None:
    async with EmbeddedPostgres(folder) as database:
        assert await ask(database.dsn, "show fsync") == "on"
        await ask(database.dsn, "create table t (v vector(2))", "insert into t values ('[1,2]')")
    began = time.monotonic()
    async with EmbeddedPostgres(folder) as database:
        assert await ask(database.dsn, "select v <-> '[1,1]' from t") == 1.0
    assert time.monotonic() - began < 5


async def test_a_strange_password_is_refused(folder: Path) -> None:
    async with EmbeddedPostgres(folder, durable=False) as database:
        wrong = database.dsn.replace(database.dsn.split(":")[2].split("@")[0], "guess")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(wrong)
        assert (mode(folder / "password"), mode(folder)) == (0o600, 0o700)


async def test_two_services_never_share_one(folder: Path) -> None:
    async with EmbeddedPostgres(folder, durable=False):
        with pytest.raises(LocalPartError, match=f"{folder} is in use.*process {os.getpid()}"):
            await EmbeddedPostgres(folder).start()


async def test_it_ends_with_a_service_that_is_killed(folder: Path) -> None:
    service = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, folder, stdout=asyncio.subprocess.PIPE
    )
    assert service.stdout is not None
    dsn = (await service.stdout.readline()).decode().strip()
    await ask(dsn, "create table t (i int)", "insert into t values (7)")
    service.kill()
    await service.wait()
    # The next one waits for the orphan's end instead of starting beside it.
    async with EmbeddedPostgres(folder, durable=False) as database:
        assert await ask(database.dsn, "select i from t") == 7
    with pytest.raises(OSError):
        await asyncpg.connect(dsn)


async def test_it_recovers_when_everything_is_killed(folder: Path) -> None:
    async with EmbeddedPostgres(folder) as database:
        await ask(database.dsn, "create table t (i int)", "insert into t values (7)")
        pid = int((folder / "cluster" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.5)
    stale = folder / "cluster" / "postmaster.pid"
    stale.write_text(f"{os.getppid()}\n" + "".join(stale.read_text().partition("\n")[2:]))
    async with EmbeddedPostgres(folder) as database:
        assert await ask(database.dsn, "select i from t") == 7


async def test_an_interrupted_first_start_is_begun_anew(folder: Path) -> None:
    (folder / "cluster.new" / "base").mkdir(parents=True)
    async with EmbeddedPostgres(folder, durable=False) as database:
        assert await ask(database.dsn, "select 1") == 1


async def test_another_major_version_is_said_plainly(folder: Path) -> None:
    async with EmbeddedPostgres(folder, durable=False):
        pass
    (folder / "cluster" / "PG_VERSION").write_text("17\n")
    with pytest.raises(LocalPartError, match="made by PostgreSQL 17, and this is 18"):
        await EmbeddedPostgres(folder).start()


async def test_a_taken_port_is_said(folder: Path) -> None:
    async with EmbeddedPostgres(folder, durable=False) as database:
        port = int(database.dsn.rpartition(":")[2].partition("/")[0])
        with pytest.raises(LocalPartError, match="cannot be had"):
            await EmbeddedPostgres(folder.with_name("other"), port=port).start()


root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@root
async def test_root_s_closed_home_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Binaries and data below a folder that `nobody` cannot enter."""
    home = Path(tempfile.mkdtemp(dir="/var/tmp"))
    try:
        package = postgres.wheel_binaries().parent.parent
        for part in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(part, home / part.name, symlinks=True)
        binaries = home / package.name / "pginstall" / "bin"
        monkeypatch.setattr(postgres, "wheel_binaries", lambda: binaries)
        shared = Path(tempfile.mkdtemp(dir="/var/tmp"))
        monkeypatch.setattr(postgres, "SHARED", shared)
        async with EmbeddedPostgres(home / "data", durable=False) as database:
            assert await ask(database.dsn, "select 1") == 1
        assert mode(home) == 0o700
        assert (home / "data" / "cluster").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    finally:
        shutil.rmtree(home)
        shutil.rmtree(shared)


def as_nobody(script: str, folder: str) -> subprocess.CompletedProcess[str]:
    """With whichever Python of our version that account can reach."""
    wanted = f"python{sys.version_info.major}.{sys.version_info.minor}"
    paths = [Path(asyncpg.__file__).parents[1], Path(postgres.__file__).parents[2]]
    if subprocess.run(["test", "-r", postgres.__file__], user="nobody", check=False).returncode:
        pytest.skip("that account cannot reach this checkout")
    for python in (sys.executable, f"/usr/bin/{wanted}", f"/usr/local/bin/{wanted}"):
        try:
            return subprocess.run(
                [python, "-c", script, f"{folder}/postgres"],
                user="nobody", extra_groups=[], cwd=folder, capture_output=True, text=True,
                env={"PYTHONPATH": ":".join(map(str, paths))}, check=False,
            )  # fmt: skip
        except OSError:
            continue
    pytest.skip("that account cannot reach a Python of our version")


@root
async def test_an_ordinary_user_needs_nothing_more() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
        script = CHILD.replace("sleep(600)", "sleep(0)")
        done = await asyncio.to_thread(as_nobody, script, folder)
        assert done.stdout.startswith("postgresql://"), done.stderr
