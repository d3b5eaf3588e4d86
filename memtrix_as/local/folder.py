"""A folder that one service at a time may use, and files of bounded size in it."""

import asyncio
import fcntl
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from memtrix_as.errors import LocalPartError

LOG_LIMIT = 8 * 2**20  # bytes; one older file of that size is kept

Say = Callable[[str], None]


def private(folder: Path) -> Path:
    """Make the folder, for us alone; what lies above it keeps its permissions."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as exc:
        raise LocalPartError(
            f"{folder} cannot be made or used ({exc.strerror}); give a folder that "
            "belongs to you, on a disk with space left."
        ) from exc
    return folder


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step; nobody else may read it at any moment."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Lock:
    """Holds a folder by flock(2): released by the kernel when the last process that has it ends.

    A child that inherits `fd` holds the folder too: so after a kill -9 the next service waits
    until the orphan is really gone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fd = -1

    async def take(self, say: Say, patience: float = 60.0) -> None:
        """LocalPartError if a living service has it; waits for the end of a dead one's children."""
        fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience
        said = False
        while not self._try(fd):
            pid = int(os.pread(fd, 20, 0).strip() or b"0")
            if (pid and _alive(pid)) or time.monotonic() > deadline:
                os.close(fd)
                raise LocalPartError(
                    f"{self.folder} is in use by another service (process {pid or 'unknown'}); "
                    "stop that one first, or give this one a folder of its own."
                )
            if not said:
                say(f"waiting for an earlier service to let go of {self.folder}")
                said = True
            await asyncio.sleep(0.05)
        os.truncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self.fd = fd

    def _try(self, fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def trim(log: Path, limit: int = LOG_LIMIT) -> None:
    """Keep a log within bounds although a child has it open: it must append (O_APPEND)."""
    if log.exists() and log.stat().st_size > limit:
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)


async def keep_trimmed(log: Path, every: float = 60.0) -> None:
    """Runs until it is cancelled."""
    while True:
        await asyncio.to_thread(trim, log)
        await asyncio.sleep(every)


def tail(log: Path, lines: int = 5) -> str:
    """The last lines of a log, for an error that a person reads."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        text = file.read().decode(errors="replace")
    return "\n".join(text.strip().splitlines()[-lines:])
