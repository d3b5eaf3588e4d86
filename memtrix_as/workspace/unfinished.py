"""Files on their way in: written under a name that nobody sees, and put in place when whole."""

import contextlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from memtrix_as.errors import ToolError
from memtrix_as.workspace import paths
from memtrix_as.workspace.explained import explained
from memtrix_as.workspace.quota import PARTIAL, Claim

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Incoming:
    """A file that is being written; nobody sees it under its name before it is whole.

    A thread may still be writing when the turn that began it is over. Then the file waits for it
    before it closes, and takes nothing more: its descriptor may be another file's by then.
    """

    name: str  # what it is to be called; another number may be added at the end
    temporary: str
    fd: int
    claim: Claim
    _one: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _open: bool = True

    def write(self, data: bytes) -> None:
        """Add to the file, in a thread; WorkspaceFull when there is no room for it."""
        self.claim.grow(len(data))
        view = memoryview(data)
        with self._one, explained(self.name):
            if not self._open:
                raise ToolError("It was broken off.")
            while view:
                view = view[os.write(self.fd, view) :]

    def close(self) -> None:
        with self._one:
            self._open = False
            os.close(self.fd)


@dataclass(frozen=True, slots=True)
class NewFolder:
    """An open folder that is being filled."""

    fd: int
    claim: Claim

    def room(self, most: int) -> int:
        """How many bytes may be put in, up to `most`; they are kept for it. For a thread."""
        return self.claim.rest(most)


@contextlib.contextmanager
def partial(at: int, path: str, name: str, claim: Claim) -> Iterator[Incoming]:
    """A new file without a lasting name in the open folder `at`; removed unless it was placed."""
    with explained(path):
        sweep(at)
        temporary = PARTIAL + secrets.token_hex(8)
        fd = os.open(temporary, _NEW, 0o644, dir_fd=at)
    file = Incoming(name, temporary, fd, claim)
    try:
        yield file
    finally:
        file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=at)


def place(at: int, file: Incoming, *, replace: bool) -> None:
    """Give a file its name, all of it being on the disk; FileExistsError if it has gone to another.

    Not by a hard link: a crash would leave a file with two names.
    """
    os.fsync(file.fd)
    with contextlib.nullcontext() if replace else _reserved(at, file.name):
        os.replace(file.temporary, file.name, src_dir_fd=at, dst_dir_fd=at)
    file.claim.keep()


def place_beside(at: int, file: Incoming) -> None:
    """Give a file its name, or that with a number, if others have it."""
    wanted = file.name
    for number in range(1, 1000):
        file.name = paths.numbered(wanted, number)
        with contextlib.suppress(FileExistsError):
            return place(at, file, replace=False)
    raise ToolError(f"There are a thousand files called {wanted} already.")


@contextlib.contextmanager
def _reserved(at: int, name: str) -> Iterator[None]:
    """A free name, held by an empty file until another takes its place, or none could."""
    fd = os.open(name, _NEW, 0o644, dir_fd=at)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            there = os.stat(name, dir_fd=at, follow_symlinks=False)
            if os.path.samestat(there, os.fstat(fd)):
                os.unlink(name, dir_fd=at)
        raise
    finally:
        os.close(fd)


def sweep(at: int) -> None:
    """Remove what a crash has left unfinished a day ago or earlier."""
    with os.scandir(at) as found:
        for one in found:
            if not one.name.startswith(PARTIAL):
                continue
            with contextlib.suppress(OSError):
                if one.stat(follow_symlinks=False).st_mtime > time.time() - 86400:
                    continue
                if one.is_dir(follow_symlinks=False):
                    shutil.rmtree(one.name, dir_fd=at)
                else:
                    os.unlink(one.name, dir_fd=at)
