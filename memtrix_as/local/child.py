"""Child processes that never outlive us, not even when we are killed with -9."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import aiohttp

from memtrix_as.config import child_environment

# What a server of ours needs to know; not the keys and tokens that a shell may have exported.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
SHIM = Path(__file__).with_name("shim.py")


def environment() -> dict[str, str]:
    """The environment for a server that is not ours."""
    return {key: value for key, value in child_environment().items() if key in PASSED_ON}


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a child runs as."""

    uid: int
    gid: int


class Child:
    """A running process in a session of its own: a Ctrl-C in the terminal is ours to pass on."""

    def __init__(self, process: asyncio.subprocess.Process, leash: int | None) -> None:
        self.process = process
        self._leash = leash

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def ended(self) -> bool:
        return self.process.returncode is not None

    async def wait(self) -> int:
        code = await self.process.wait()
        if self._leash is not None:
            with contextlib.suppress(BrokenPipeError):  # it ended before there was a watcher
                os.write(self._leash, b".")  # which must not signal a pid that is free again
            os.close(self._leash)
            self._leash = None
        return code

    async def stop(self, signum: int = signal.SIGTERM, patience: float = 20.0) -> int:
        """Ask it to end, and after `patience` seconds make it; returns its exit code."""
        if not self.ended:
            self.process.send_signal(signum)
        try:
            return await asyncio.wait_for(self.wait(), patience)
        except TimeoutError:
            if not self.ended:
                self.process.kill()
            return await self.wait()


async def spawn(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    output: IO[bytes] | int = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
    account: Account | None = None,
    stdin: int = subprocess.DEVNULL,
    keep: Sequence[int] = (),
    last_signal: int = signal.SIGTERM,
    leash: bool = sys.platform != "linux",
) -> Child:
    """Start `command` (an absolute path first), which gets `last_signal` when we end.

    Call it from the thread that runs the event loop for as long as we live: Linux sends the
    signal when the starting *thread* ends. `keep` are file descriptors that the child inherits.
    """
    read, write = os.pipe() if leash else (None, None)
    owner = f"{account.uid}:{account.gid}" if account else "-"
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", SHIM,
            str(os.getpid()), str(int(last_signal)), owner, "-" if read is None else str(read),
            *command,
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(*keep, *(() if read is None else (read,))),
            start_new_session=True,
        )  # fmt: skip
    finally:
        if read is not None:
            os.close(read)
    return Child(process, write)


async def answers(url: str, child: Child, patience: float) -> bool:
    """Wait until `url` answers 200; False if the child ended or `patience` seconds went by."""
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(patience):
            while not child.ended:
                try:
                    async with session.get(url) as answer:
                        if answer.status == 200:
                            return True
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)  # nobody tells when a port is opened
    except TimeoutError:
        pass
    return False
