"""A process that writes the files of one commit: a pack on stdin, a folder by its descriptor.

The pack comes from a stranger. What is written are plain files and folders: no links, nothing
that git itself would look at, no attributes, filters or hooks. It is run by its path and
imports nothing of ours.  `git_child.py COMMIT DESCRIPTOR BYTES`: so much may be written.
"""

import errno
import json
import os
import re
import resource
import stat
import sys
import unicodedata
from collections.abc import Iterator

from dulwich.object_format import DEFAULT_OBJECT_FORMAT
from dulwich.objects import Blob, Commit, ShaFile, Tree
from dulwich.pack import PackData, PackInflater

MOST_FILES, MOST_BYTES, MOST_DEPTH = 5_000, 100_000_000, 32
LIMITS = {
    resource.RLIMIT_AS: 1 << 30,
    resource.RLIMIT_CPU: 60,
    resource.RLIMIT_FSIZE: MOST_BYTES,
    resource.RLIMIT_CORE: 0,
}
LFS = b"version https://git-lfs.github.com/spec/"
_GIT = re.compile(r"\.git|git~\d+", re.IGNORECASE)


FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk space that the service may use is used up",
    errno.EFBIG: "a file of it is larger than the system allows",
}
BLOCK = 4096  # bytes that each file and each folder takes at least


class TooMuch(Exception):
    """There is more than may be written."""


class NoRoom(TooMuch):
    """There is more than the room that is left."""


def main() -> None:
    for what, most in LIMITS.items():
        _, hard = resource.getrlimit(what)  # ours may be narrower already
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    os.fchdir(int(sys.argv[2]))
    try:
        told = write(sys.argv[1].encode(), int(sys.argv[3]))
    except NoRoom:
        told = {"full": True}
    except TooMuch as exc:
        told = {"problem": str(exc)}
    except OSError as exc:
        if exc.errno not in FULL:
            raise
        told = {"problem": FULL[exc.errno]}
    json.dump(told, sys.stdout)


def write(head: bytes, room: int) -> dict[str, object]:
    pack = PackData.from_file(sys.stdin.buffer, DEFAULT_OBJECT_FORMAT)
    trees: dict[bytes, Tree] = {}
    root = None
    for thing in objects(pack):
        if isinstance(thing, Tree):
            trees[thing.id] = thing
        elif isinstance(thing, Commit) and thing.id == head:
            root = thing.tree
    told = {"files": 0, "bytes": 0, "links": 0, "modules": 0, "names": 0, "lfs": 0}
    wanted: dict[bytes, list[str]] = {}
    if root is None:
        raise TooMuch("the pack does not hold the commit that was asked for")
    room -= plan(trees, root, wanted, told) * BLOCK
    for thing in objects(pack):
        if isinstance(thing, Blob) and thing.id in wanted:
            for path in wanted.pop(thing.id):
                data = thing.as_raw_string()
                room -= max(BLOCK, -(-len(data) // BLOCK) * BLOCK)
                if room < 0:
                    raise NoRoom
                put(path, data, told)
    if wanted:
        raise TooMuch("the pack is not complete")
    return {**told}


def objects(pack: PackData) -> Iterator[ShaFile]:
    return iter(PackInflater.for_pack_data(pack))


def plan(
    trees: dict[bytes, Tree], root: bytes, wanted: dict[bytes, list[str]], told: dict[str, int]
) -> int:
    """Which file goes where; makes the folders, and tells how many.

    A tree that repeats itself comes to an end.
    """
    entries, folders, todo = 0, 0, [("", root, 0)]
    while todo:
        above, sha, depth = todo.pop()
        if sha not in trees:
            raise TooMuch("the pack is not complete")
        for entry in trees[sha].iteritems():
            entries += 1
            if entries > MOST_FILES:
                raise TooMuch(f"it has more than {MOST_FILES} files and folders")
            name = harmless(entry.path)
            if stat.S_ISLNK(entry.mode):
                told["links"] += 1
            elif entry.mode == 0o160000:
                told["modules"] += 1
            elif name is None or depth >= MOST_DEPTH:
                told["names"] += 1
            elif stat.S_ISDIR(entry.mode):
                os.makedirs(above + name, exist_ok=True)
                folders += 1
                todo.append((f"{above}{name}/", entry.sha, depth + 1))
            elif stat.S_ISREG(entry.mode):
                wanted.setdefault(entry.sha, []).append(above + name)
    return folders


def put(path: str, data: bytes, told: dict[str, int]) -> None:
    told["bytes"] += len(data)
    if told["bytes"] > MOST_BYTES:
        raise TooMuch(f"its files have more than {MOST_BYTES // 1_000_000} MB")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    except FileExistsError:  # twice the same name
        told["names"] += 1
        return
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    told["files"] += 1
    told["lfs"] += data.startswith(LFS) and len(data) < 1024


def harmless(raw: bytes) -> str | None:
    """The name of a file, or None for one that could lead out, mislead, or mean git itself."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        return None
    odd = any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name)
    if odd or name in ("", ".", "..") or len(raw) > 255 or "/" in name or "\\" in name:
        return None
    plain = "".join(c for c in name if unicodedata.category(c) != "Cf").rstrip(" .")
    folded = unicodedata.normalize("NFKC", plain).casefold()
    return None if folded.startswith(".git:") or _GIT.fullmatch(folded) else name


if __name__ == "__main__":
    main()
