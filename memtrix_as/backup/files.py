"""The files of a backup: what is taken of a folder, and how it comes into an empty one.

Nothing is followed: no link, whoever made it, and no name out of an archive leads anywhere else.
"""

import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from memtrix_as.backup.archive import PARTIAL, PIECE, Reader, Writer, told
from memtrix_as.config import Config
from memtrix_as.errors import BackupError
from memtrix_as.memory.core_files import CORE_FILES
from memtrix_as.memory.persona import TEMPLATES

STAGE = f"{PARTIAL}restore"  # where files wait until all of them are there

# What crashes leave of our writing, in workspaces and of core files.
_UNFINISHED = re.compile(
    rf"{re.escape(PARTIAL)}.*|\.({'|'.join(map(re.escape, CORE_FILES))})\.[0-9a-f]+\.tmp"
)
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Say = Callable[[str], None]


@dataclass
class Taken:
    """How much came into the archive, and which names did not."""

    files: int = 0
    bytes: int = 0
    left_out: list[str] = field(default_factory=list)  # links, pipes, devices


def folders(config: Config) -> dict[str, Path]:
    """Where the folders of an archive belong."""
    return {"workspace": config.workspace_directory, "agents": config.agents_directory}


def take(archive: Writer, name: str, root: Path, others: Sequence[Path], done: Taken) -> None:
    """Put a folder into the archive; `others` are parts of it that are no part of it."""
    apart = {path.resolve() for path in others} - {root.resolve()}
    if not root.is_dir():
        return
    for at, inside, files, fd in os.fwalk(root, onerror=_unreadable, follow_symlinks=False):
        below = Path(at).relative_to(root)
        for folder in sorted(inside):
            found = _seen(folder, fd)
            if found is None or _UNFINISHED.fullmatch(folder) or _resolved(at, folder) in apart:
                inside.remove(folder)
            elif not stat.S_ISDIR(found.st_mode):
                inside.remove(folder)  # a link to one
                done.left_out.append(str(root / below / folder))
            else:
                shown = f"{name}/{(below / folder).as_posix()}/"
                archive.add(shown, b"", found.st_mode & 0o777, found.st_mtime)
        for file in sorted(files):
            if not _UNFINISHED.fullmatch(file):
                _take_file(archive, f"{name}/{(below / file).as_posix()}", fd, file, done)


def _unreadable(exc: OSError) -> None:
    if not isinstance(exc, FileNotFoundError):  # it may go while we walk
        raise BackupError(f"{exc.filename} cannot be read: {exc.strerror}.") from exc


def _resolved(at: str, name: str) -> Path:
    return (Path(at) / name).resolve()


def _seen(name: str, fd: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _take_file(archive: Writer, name: str, fd: int, file: str, done: Taken) -> None:
    found = _seen(file, fd)
    if found is None:
        return
    if not stat.S_ISREG(found.st_mode):
        done.left_out.append(name)
        return
    try:
        number = os.open(file, _FILE, dir_fd=fd)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise BackupError(f"{name} cannot be read: {exc.strerror}.") from exc
    with open(number, "rb") as source:
        # Its size must be known before, and somebody may be writing: so it is read first, a
        # large one into a file of its own.
        status = os.fstat(number)
        with tempfile.SpooledTemporaryFile(PIECE, dir=str(archive.path.parent)) as copy:
            with told(f"{name} cannot be read"):
                shutil.copyfileobj(source, copy, 1 << 20)
            size = copy.tell()
            copy.seek(0)
            archive.copy(name, copy, size, status.st_mode & 0o777, status.st_mtime)
    done.files += 1
    done.bytes += size


def occupied(root: Path) -> list[str]:
    """What is in a folder that only one in use has: no templates, nothing empty."""
    if not root.is_dir():
        return []
    with told(f"{root} cannot be read"):
        return [name for name in sorted(os.listdir(root)) if _matters(root / name)]


def _matters(path: Path) -> bool:
    if _UNFINISHED.fullmatch(path.name):
        return False
    if path.is_symlink():
        return True
    if path.is_dir():
        return any(files or any((Path(at) / name).is_symlink() for name in inside)
                   for at, inside, files in os.walk(path))  # fmt: skip
    template = TEMPLATES / path.name
    return not (path.name in CORE_FILES and path.read_bytes() == template.read_bytes())


def stage(archive: Reader, name: str, root: Path) -> int:
    """Unpack a folder of the archive beside where it belongs; returns how many files."""
    with told(f"{root} cannot be written"):
        root.mkdir(parents=True, exist_ok=True)
        new = root / STAGE
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        owner = root.stat() if os.geteuid() == 0 else None  # root restores for the service
        members = [m for m in archive.members.values() if m.name.startswith(f"{name}/")]
        for member in members:
            path = new / member.name.removeprefix(f"{name}/")
            if member.folder:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                continue
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            with open(os.open(path, _NEW, 0o600), "wb") as file:
                for piece in archive.pieces(member.name):
                    file.write(piece)
        for member in reversed(members):  # a folder's time is its own only when it is full
            path = new / member.name.removeprefix(f"{name}/")
            if owner:
                os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
            path.chmod(member.mode & 0o777)
            os.utime(path, (member.mtime, member.mtime))
        if owner:
            os.chown(new, owner.st_uid, owner.st_gid)
        os.sync()
    return sum(not member.folder for member in members)


def place(root: Path) -> None:
    """Give what was staged its names; goes on where a crash has stopped it."""
    new = root / STAGE
    if not new.is_dir():
        return
    with told(f"{root} cannot be written"):
        for name in sorted(os.listdir(new)):
            if (root / name).is_dir():
                _remove_empty(root / name)
            os.replace(new / name, root / name)
        new.rmdir()
        os.sync()


def _remove_empty(folder: Path) -> None:
    for at, _, _ in os.walk(folder, topdown=False):
        os.rmdir(at)


def unstage(root: Path) -> None:
    """Take away what was staged in vain."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(root / STAGE)


def shown(names: Sequence[str], most: int = 5) -> str:
    """The first of some names."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def under(root: Path, paths: Iterator[Path]) -> list[Path]:
    """Those of the paths that are below a folder."""
    inside = root.resolve()
    return [path for path in paths if inside in path.resolve().parents]
