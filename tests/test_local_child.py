"""Children that end with us, however we end, and the folders that one service has for itself."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from memtrix_as.errors import LocalPartError
from memtrix_as.local.child import environment, spawn
from memtrix_as.local.folder import Lock, tail, trim, write_private

PARENT = """
import asyncio, sys
from pathlib import Path
from memtrix_as.local.child import spawn

async def main():
    child = await spawn(["/bin/sleep", "600"], cwd=Path("/"), leash=sys.argv[1] == "leash")
    print(child.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def alive(pid: int) -> bool:
    """Not gone, and not only waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("way", ["kernel", "leash"])
async def test_a_child_ends_when_its_parent_is_killed(way: str) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, way, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(5):
        while alive(pid):  # noqa: ASYNC110 (a process has no event to wait for)
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("leash", [False, True])
async def test_stopping_tells_how_it_ended(leash: bool) -> None:
    child = await spawn(["/bin/sleep", "600"], cwd=Path("/"), leash=leash)
    assert not child.ended
    assert await child.stop(signal.SIGTERM) == -signal.SIGTERM
    assert await child.stop() == -signal.SIGTERM


async def test_a_stubborn_child_is_killed() -> None:
    script = ["/bin/sh", "-c", "trap '' TERM; echo on; while :; do sleep 0.1; done"]
    child = await spawn(script, cwd=Path("/"), output=asyncio.subprocess.PIPE)
    assert child.process.stdout is not None
    await child.process.stdout.readline()
    assert await child.stop(patience=0.3) == -signal.SIGKILL


def test_servers_see_no_keys_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-1")
    assert "PATH" in environment() and "OPENROUTER_API_KEY" not in environment()


async def test_a_folder_has_one_user_at_a_time(tmp_path: Path) -> None:
    said: list[str] = []
    first, second = Lock(tmp_path), Lock(tmp_path)
    await first.take(said.append)
    with pytest.raises(LocalPartError, match=f"in use by another service .process {os.getpid()}"):
        await second.take(said.append)
    first.release()
    await second.take(said.append)
    second.release()
    assert said == []


async def test_an_orphan_of_a_dead_service_is_waited_for(tmp_path: Path) -> None:
    said: list[str] = []
    first = Lock(tmp_path)
    await first.take(said.append)
    orphan = await spawn(["/bin/sleep", "0.5"], cwd=Path("/"), keep=[first.fd])
    first.release()
    (tmp_path / "lock").write_text("4194304\n")  # no process can have that number
    await Lock(tmp_path).take(said.append)
    assert len(said) == 1 and orphan.ended


def test_a_log_stays_within_bounds(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab") as writer:
        writer.write(b"old\n" * 10)
        writer.flush()
        trim(log, limit=10)
        writer.write(b"new\n")
    assert log.read_bytes() == b"new\n"
    assert (tmp_path / "log.1").read_bytes().startswith(b"old")
    assert (tail(log), tail(tmp_path / "none")) == ("new", "")


def test_a_secret_is_never_readable_for_others(tmp_path: Path) -> None:
    write_private(tmp_path / "s", "1")
    write_private(tmp_path / "s", "2")
    assert (tmp_path / "s").read_text() == "2"
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
