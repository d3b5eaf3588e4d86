"""An agent's folder on the disk: whatever is done in it, is done from one open folder to the next.

No link is ever followed below the workspace: each folder is opened from the one above it, so a
link that is put in between check and use leads nowhere.
"""

import contextlib
import math
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from memtrix_as.config import Config
from memtrix_as.errors import PathRefused, ToolError
from memtrix_as.workspace import paths
from memtrix_as.workspace.explained import Missing, explained
from memtrix_as.workspace.quota import PARTIAL, UNLIMITED, Quota, walk
from memtrix_as.workspace.unfinished import (
    Incoming,
    NewFolder,
    partial,
    place,
    place_beside,
    sweep,
)

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
KEPT = ("attachments", "downloads")  # emptied, perhaps, but never removed themselves
MOST_COUNTED = 10_000  # files
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands in a folder; `size` in bytes for files."""

    name: str
    kind: str  # "file", "folder", "link" or "other"
    size: int = 0


class Workspaces:
    """The folder of each agent."""

    def __init__(self, config: Config) -> None:
        self._main = config.appservice.bot_username
        self._workspace, self._agents = config.workspace_directory, config.agents_directory
        self._most = config.limits.workspace_size * MEGABYTE
        self._quotas: dict[Path, Quota] = {}
        self._lock = threading.Lock()

    def of(self, agent: str) -> "Workspace":
        """The workspace of the agent with this name in the agents table."""
        if agent == self._main:
            return self._at(self._workspace)
        if not agent or "/" in agent or "\0" in agent or agent in (".", ".."):
            raise ToolError(f"An agent called {agent!r} has no workspace.")
        return self._at(self._agents / agent)

    def _at(self, root: Path) -> "Workspace":
        with self._lock:
            quota = self._quotas.setdefault(root, Quota(root, self._most))
        return Workspace(root, quota)

    def remove(self, agent: str) -> None:
        """Delete a sub-agent's whole folder, if there is one; no link is followed."""
        if agent == self._main:
            raise ToolError("The main agent's workspace stays.")
        root = self.of(agent).root
        with self._lock:
            self._quotas.pop(root, None)
        if root.is_symlink():
            root.unlink()
        elif root.is_dir():
            shutil.rmtree(root)

    def free(self, agent: str) -> bool:
        """Whether no folder of this name is there."""
        return not os.path.lexists(self._agents / agent)


@dataclass(frozen=True, slots=True)
class Workspace:
    """One agent's folder. Every method raises ToolError with the way out; paths are a model's."""

    root: Path
    quota: Quota = UNLIMITED

    def read(self, path: str, limit: int) -> tuple[bytes, int]:
        """The first `limit` bytes of a file, and how many it has."""
        *folders, name = paths.parts(path)
        with self._folder(folders, path) as at, explained(path):
            fd = self._open_file(at, name, path)
            with os.fdopen(fd, "rb") as file:
                return file.read(limit), os.fstat(file.fileno()).st_size

    @contextlib.contextmanager
    def opened(self, path: str) -> Iterator[tuple[FileIO, int]]:
        """A file, open for reading and unbuffered, and how many bytes it has."""
        *folders, name = paths.parts(path)
        with self._folder(folders, path) as at, explained(path):
            fd = self._open_file(at, name, path)
        with FileIO(fd) as file:
            yield file, os.fstat(fd).st_size

    def exists(self, path: str) -> bool:
        """Whether anything at all has this name."""
        return self.look(path) is not None

    def look(self, path: str) -> Entry | None:
        """What has this name, a link being just that."""
        *folders, name = paths.parts(path)
        try:
            with self._folder(folders, path) as at:
                return _seen(name, os.stat(name, dir_fd=at, follow_symlinks=False))
        except (FileNotFoundError, Missing):
            return None

    def write(self, path: str, data: bytes, *, replace: bool) -> bool:
        """Write a file whole or not at all, with the folders above it; whether it replaced one."""
        *folders, name = paths.parts(path)
        with self._folder(folders, path, make=True) as at, explained(path):
            found = _stat(at, name)
            if found and not replace:
                raise FileExistsError
            if found:
                _writable(found, path)
            with self.quota.claim(found) as claim, partial(at, path, name, claim) as file:
                file.write(data)
                place(at, file, replace=found is not None)
        return found is not None

    @contextlib.contextmanager
    def incoming(self, folder: str, name: str, *, replace: bool = False) -> Iterator[Incoming]:
        """Write a file piece by piece; at the end it gets a free name, or else is removed.

        `replace`: exactly this name, whatever has it.
        """
        # What goes wrong in the body is told there: a lost connection is an OSError as well.
        with self._folder(list(paths.parts(folder, root=True)), folder, make=True) as at:
            found = _stat(at, name) if replace else None
            with self.quota.claim(found) as claim, partial(at, folder, name, claim) as file:
                yield file
                with explained(folder):
                    if replace:
                        place(at, file, replace=True)
                    else:
                        place_beside(at, file)

    def entries(self, path: str) -> list[Entry]:
        """What is in a folder, by name; of the workspace, without what other tools look after."""
        names = paths.parts(path, root=True)
        with self._folder(list(names), path) as at, os.scandir(at) as found:
            entries = [_entry(one) for one in found if not one.name.startswith(PARTIAL)]
        inside = [e for e in entries if not paths.protected((*names, e.name))]
        return sorted(inside, key=lambda e: (e.kind != "folder", e.name))

    def make_folder(self, path: str) -> bool:
        """Make a folder and those above it; False when it was there."""
        names = list(paths.parts(path))
        try:
            with self._folder(names, path):
                return False
        except Missing:
            with self.quota.claim() as claim:
                claim.grow(0)
                with self._folder(names, path, make=True):
                    claim.keep()
                    return True

    def delete_file(self, path: str) -> None:
        """Delete a file, or a link itself; what a link points at stays."""
        *folders, name = paths.parts(path)
        with self._folder(folders, path) as at, explained(path):
            found = os.stat(name, dir_fd=at, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                raise ToolError(f"{paths.shown(path)} is a folder. Use delete_directory.")
            os.unlink(name, dir_fd=at)

    def delete_folder(self, path: str) -> None:
        """Delete a folder with all that is in it, following no link."""
        *folders, name = self._may_go(path)
        with self._folder([*folders, name], path):
            pass  # it is a folder, and no link
        with self._folder(folders, path) as at, explained(path):
            shutil.rmtree(name, dir_fd=at)

    def extent(self) -> tuple[int, int]:
        """How many files and bytes the whole workspace has."""
        return self._count((), "")

    def count(self, path: str) -> tuple[int, int]:
        """How many files and bytes are in a folder that may go; counting stops at MOST_COUNTED."""
        return self._count(self._may_go(path), path, MOST_COUNTED)

    def _count(
        self, folders: tuple[str, ...], path: str, most: float = math.inf
    ) -> tuple[int, int]:
        files = size = 0
        with self._folder(list(folders), path) as at:
            for found in walk(at):
                if not (stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode)):
                    files, size = files + 1, size + found.st_size
                if files >= most:
                    break
        return files, size

    @staticmethod
    def _may_go(path: str) -> tuple[str, ...]:
        names = paths.parts(path)
        if len(names) == 1 and names[0] in KEPT:
            raise PathRefused(f"{path} itself stays. Delete what is in it, by its own path.")
        return names

    @contextlib.contextmanager
    def new_folder(self, path: str) -> Iterator[NewFolder]:
        """An open folder to fill, which gets its name when all is well, or else is removed."""
        *folders, name = paths.parts(path)
        with self._folder(folders, path, make=True) as at, self.quota.claim() as claim:
            temporary = PARTIAL + secrets.token_hex(8)
            with explained(path):
                _not_there(at, name, path)
                sweep(at)
                os.mkdir(temporary, dir_fd=at)
            try:
                with explained(path):
                    fd = os.open(temporary, _FOLDER, dir_fd=at)
                try:
                    yield NewFolder(fd, claim)
                finally:
                    os.close(fd)
                with explained(path):
                    _not_there(at, name, path)
                    os.rename(temporary, name, src_dir_fd=at, dst_dir_fd=at)
                claim.keep()
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True, dir_fd=at)
                raise

    @contextlib.contextmanager
    def _folder(self, names: list[str], path: str, make: bool = False) -> Iterator[int]:
        """The folder `names` below the root, opened step by step."""
        with explained(path):
            self.root.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in names:
                if make:
                    with explained(path), contextlib.suppress(FileExistsError):
                        os.mkdir(name, dir_fd=fd)
                with explained(path):
                    below = os.open(name, _FOLDER, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    @staticmethod
    def _open_file(at: int, name: str, path: str) -> int:
        """Open a plain file; a device or a pipe is not even touched."""
        _plain(os.stat(name, dir_fd=at, follow_symlinks=False), path)
        fd = os.open(name, _READ, dir_fd=at)
        try:
            _plain(os.fstat(fd), path)
        except BaseException:
            os.close(fd)
            raise
        return fd


def _stat(at: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _not_there(at: int, name: str, path: str) -> None:
    if _stat(at, name):
        raise ToolError(f"{paths.shown(path)} exists already. Choose another directory.")


def _plain(found: os.stat_result, path: str) -> None:
    """Only plain files with one name: a second name may be that of a file outside."""
    if stat.S_ISDIR(found.st_mode):
        raise ToolError(f"{paths.shown(path)} is a folder. Use list_directory.")
    if stat.S_ISLNK(found.st_mode):
        raise PathRefused(f"{paths.shown(path)} is a link. Links are not followed.")
    if not stat.S_ISREG(found.st_mode):
        raise PathRefused(f"{paths.shown(path)} is no file but a device, a pipe or a socket.")
    if found.st_nlink > 1:
        raise PathRefused(
            f"{paths.shown(path)} has other names elsewhere (hard links), so it is left alone."
        )


def _writable(found: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise ToolError(f"{paths.shown(path)} is a folder. Choose another name.")
    _plain(found, path)


def _entry(one: "os.DirEntry[str]") -> Entry:
    try:
        found = one.stat(follow_symlinks=False)
    except OSError:
        return Entry(one.name, "other")
    return _seen(one.name, found)


def _seen(name: str, found: os.stat_result) -> Entry:
    kinds = {stat.S_IFDIR: "folder", stat.S_IFREG: "file", stat.S_IFLNK: "link"}
    kind = kinds.get(stat.S_IFMT(found.st_mode), "other")
    return Entry(name, kind, found.st_size if kind == "file" else 0)
