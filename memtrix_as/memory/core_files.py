"""Core files on disk: looked at without trust, and replaced whole or not at all.

All of this blocks: call it in a thread.
"""

import codecs
import errno
import os
import secrets
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CORE_FILES = ("AGENT.md", "SOUL.md", "BEHAVIOR.md", "USER.md", "MEMORY.md")
LARGEST = 1 << 20  # bytes of a file that is read
# A change within one tick of the file system's clock shows in nothing but the text itself.
SETTLED = 2_000_000_000  # nanoseconds

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not hang us
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was when it was looked at; `problem` says why its text is not known."""

    text: str = ""
    problem: str | None = None
    missing: bool = False
    signature: tuple[int, ...] = ()
    settled: bool = False  # the signature will tell of any later change


def look(path: Path, before: Seen | None = None) -> Seen:
    """The file as it is now: `before` itself when nothing shows that it has changed."""
    if before and before.settled:
        with suppress(OSError):
            if _signature(os.lstat(path)) == before.signature:
                return before
    try:
        number = os.open(path, _OPEN)
    except FileNotFoundError:
        return Seen(missing=True)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            return Seen(problem="is a symbolic link; put a file of its own in its place")
        return Seen(problem=f"cannot be opened ({exc.strerror}); let me read and write it")
    try:
        return _read(number)
    except OSError as exc:
        return Seen(problem=f"cannot be read ({exc.strerror}); look at the disk")
    finally:
        os.close(number)


def _read(number: int) -> Seen:
    now, status = time.time_ns(), os.fstat(number)
    if not stat.S_ISREG(status.st_mode):
        return Seen(problem="is not a file; take it away, and I make a new one")
    os.lseek(number, 0, os.SEEK_SET)
    with open(number, "rb", closefd=False) as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        return Seen(problem=f"is larger than {LARGEST // 1024} KiB; shorten it")
    text = decoded(data)
    if text is None:
        return Seen(problem="is not text in UTF-8; save it as UTF-8")
    settled = now - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED
    return Seen(text, signature=_signature(status), settled=settled)


def decoded(data: bytes) -> str | None:
    """The text with plain line ends and without a byte order mark; None when it is no text."""
    try:
        text = data.decode("utf-16" if data.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else plain(text)


def plain(text: str) -> str:
    """The text with the line ends of Unix."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev, status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns,
        status.st_ctime_ns,
    )  # fmt: skip


def create(path: Path, text: str) -> None:
    """Make the file, with its folders, unless anything at all is there. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path, text, None)
    try:
        with suppress(FileExistsError):
            # Unlike a rename, a link never takes the place of what came meanwhile.
            os.link(temporary, path)
    except OSError:  # a file system without links
        if not os.path.lexists(path):
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _keep_names(path.parent)


def replace(path: Path, text: str, expected: str) -> tuple[bool, str | None]:
    """Put a text in the place of `expected`; raises OSError.

    Returns whether it stands there now (not when something else was found there), and what
    somebody wrote in the last moment into the file that is gone.
    """
    try:
        number = os.open(path, _OPEN)
    except FileNotFoundError:
        return False, None
    try:
        status, seen = os.fstat(number), _read(number)
        if seen.problem or seen.text != expected:
            return False, None
        temporary = _temporary(path, text, status)
        try:
            if not os.path.lexists(path) or _signature(os.lstat(path)) != seen.signature:
                return False, None
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _keep_names(path.parent)
        late = _read(number)
        return True, None if late.problem or late.text == expected else late.text
    finally:
        os.close(number)


def _temporary(path: Path, text: str, like: os.stat_result | None) -> Path:
    """A new file beside `path` that a crash cannot leave half; of the same owner and mode."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    number = os.open(temporary, _NEW, 0o666)
    try:
        with open(number, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            if like:
                with suppress(PermissionError):
                    os.fchown(number, like.st_uid, like.st_gid)
                os.fchmod(number, stat.S_IMODE(like.st_mode))
            os.fsync(number)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _keep_names(folder: Path) -> None:
    """See that a crash of the machine does not undo what happened to the names in a folder."""
    number = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def sweep(folder: Path) -> None:
    """Take away what crashes have left of our writing; what is younger than an hour is in use."""
    for file in CORE_FILES:
        for left in folder.glob(f".{file}.*.tmp"):
            with suppress(OSError):
                if time.time() - left.lstat().st_mtime > 3600:
                    left.unlink()
