"""The file of a backup: a plain tar whose last member is the SHA-256 of all that stands before it.

So it can be listed and unpacked without us, and no byte of it can change without our seeing it:
not even those that a tar never looks at. Tables are in it as gzipped pieces of a few MiB, so that
neither writing nor reading needs more memory, or a size that is known before.
"""

import contextlib
import hashlib
import io
import json
import os
import secrets
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

from memtrix_as.errors import BackupError
from memtrix_as.settings import document

FORMAT = 1
HEAD, MANIFEST, SUM = "memtrix-backup.json", "manifest.json", "SHA256"
FILES = ("workspace", "agents")  # the folders that are taken
PIECE = 4 << 20  # bytes of a table in one member, before they are packed
PARTIAL = ".memtrix-"  # how the name of an unfinished file begins, everywhere
LEVEL = 3  # of gzip: twice as quick as 6, for some percent of the size
LARGEST_MANIFEST = 1 << 30
FARTHEST = 1e11  # seconds from 1970 of a file's time

_BLOCK = tarfile.BLOCKSIZE
_TAIL = 4 * _BLOCK  # the last member with its header, and the two empty blocks that end a tar


@dataclass(frozen=True, slots=True)
class Member:
    """What stands in the archive; a folder's name ends in a slash."""

    name: str
    size: int
    sha256: str
    mode: int
    mtime: float

    @classmethod
    def of(cls, told: Sequence[Any]) -> "Member":
        """Raises TypeError or ValueError where it is none."""
        name, size, sha256, mode, mtime = told
        if not isinstance(mode, int) or not abs(mtime) < FARTHEST:
            raise ValueError("no mode, or no time that a file can have")
        return cls(name, size, sha256, mode, mtime)

    @property
    def folder(self) -> bool:
        return self.name.endswith("/")


@dataclass(frozen=True, slots=True)
class Rows:
    """A table in the archive; `next` is what its identity columns give out next."""

    name: str
    columns: tuple[str, ...]
    next: Mapping[str, int]
    rows: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive tells of itself."""

    version: str  # of the Memtrix that wrote it
    id: str
    taken_at: datetime
    migration: str  # version of the schema
    bot_username: str
    domain: str
    tables: tuple[Rows, ...]
    needs: tuple[str, ...]  # secrets that the configuration lacks

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Manifest":
        """Raises LookupError, TypeError or ValueError where it is none."""
        tables = tuple(
            Rows(
                str(table["name"]), tuple(map(str, table["columns"])),
                {str(key): int(value) for key, value in table["next"].items()},
                int(table["rows"]),
            )
            for table in told["tables"]
        )  # fmt: skip
        names = ("version", "id", "migration", "bot_username", "domain")
        version, id, migration, bot_username, domain = (str(told[name]) for name in names)
        taken_at = datetime.fromisoformat(told["taken_at"])
        needs = tuple(map(str, told["needs"]))
        return cls(version, id, taken_at, migration, bot_username, domain, tables, needs)


def _header(name: str, size: int, mode: int = 0o600, mtime: float = 0.0) -> bytes:
    info = tarfile.TarInfo(name.rstrip("/"))
    info.size, info.mode, info.mtime = size, mode, int(mtime)
    info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _tail(digest: str) -> bytes:
    data = f"{digest}\n".encode()
    return _header(SUM, len(data)) + data.ljust(_BLOCK, b"\0") + bytes(2 * _BLOCK)


class Writer:
    """Writes an archive; it gets its name when it is whole, else nothing is left of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members: list[Member] = []
        self.size = 0
        self._sum = hashlib.sha256()
        self._partial = path.with_name(PARTIAL + secrets.token_hex(8))
        with told(f"{path} cannot be written"):
            number = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = open(number, "wb")

    def add(self, name: str, data: bytes, mode: int = 0o600, mtime: float = 0.0) -> None:
        """A member whose content is here already; a folder has none."""
        self.copy(name, io.BytesIO(data), len(data), mode, mtime)

    def copy(self, name: str, source: IO[bytes], size: int, mode: int, mtime: float) -> None:
        """A member of `size` bytes, which `source` must have."""
        sum_ = hashlib.sha256()
        with told(f"{self.path} cannot be written"):
            self._write(_header(name, size, mode, mtime))
            left = size
            while left and (data := source.read(min(left, 1 << 20))):
                sum_.update(data)
                self._write(data)
                left -= len(data)
            assert not left, f"{name} is shorter than it was"
            self._write(bytes(-size % _BLOCK))
        self.members.append(Member(name, size, sum_.hexdigest(), mode, mtime))

    def pack(self, name: str, data: bytes) -> None:
        """A gzipped member."""
        packer = zlib.compressobj(LEVEL, wbits=31)
        self.add(name, packer.compress(data) + packer.flush())

    def finish(self, manifest: dict[str, Any], *, replace: bool) -> None:
        """Write the manifest and the sum, and give the file its name."""
        rows = [[m.name, m.size, m.sha256, m.mode, m.mtime] for m in self.members]
        self.add(MANIFEST, json.dumps({**manifest, "members": rows}).encode())
        with told(f"{self.path} cannot be written"):
            self._write(_tail(self._sum.hexdigest()))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if replace:
                os.replace(self._partial, self.path)
            else:
                os.link(self._partial, self.path)  # unlike a rename, over nothing that is there
                self._partial.unlink()
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def close(self) -> None:
        """Leave nothing behind that is not whole."""
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        self._sum.update(data)
        self.size += len(data)
        self._file.write(data)


class Reader:
    """An archive that has been checked from its first byte to its last; BackupError if it fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with told(f"{path} cannot be read"):
            self._file = path.open("rb")
        self._at: dict[str, int] = {}  # where the contents of members begin
        try:
            self.manifest, self.members = self._checked()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def _checked(self) -> tuple[Manifest, dict[str, Member]]:
        with told(f"{self.path} cannot be read"):
            self._check_sum()
            head = self._head()
            if head.get("format") != FORMAT:
                raise BackupError(
                    f"{self.path} has the format {head.get('format')!r}; this version reads "
                    f"{FORMAT}. It was made by Memtrix {head.get('version')}: restore it with that."
                )
            return self._walk()

    def _check_sum(self) -> None:
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(0)
        name = HEAD.encode().ljust(100, b"\0")
        if size < _TAIL + 2 * _BLOCK or size % _BLOCK or self._file.read(100) != name:
            raise BackupError(f"{self.path} is no backup of Memtrix, or only a part of one.")
        self._file.seek(0)
        sum_, left = hashlib.sha256(), size - _TAIL
        while left and (data := self._file.read(min(left, 1 << 20))):
            sum_.update(data)
            left -= len(data)
        if self._file.read() != _tail(sum_.hexdigest()):
            raise self._damaged("it is not as it was written")

    def _damaged(self, why: str) -> BackupError:
        return BackupError(f"{self.path} is damaged: {why}. Nothing was changed.")

    def _head(self) -> dict[str, Any]:
        self._file.seek(0)
        with self._sound(), tarfile.open(fileobj=self._file, mode="r:") as tar:
            first = tar.next()
            assert first
            self._file.seek(first.offset_data)
            return dict(json.loads(self._file.read(max(0, min(first.size, PIECE)))))

    def _walk(self) -> tuple[Manifest, dict[str, Member]]:
        """Everything that is in it, compared with what the manifest says."""
        found: dict[str, tuple[int, int, str]] = {}
        manifest: dict[str, Any] = {}
        self._file.seek(0)
        with self._sound(), tarfile.open(fileobj=self._file, mode="r:", errorlevel=2) as tar:
            for info in tar:
                name = info.name + "/" * info.isdir()
                self._allow(info, name, found)
                if name == MANIFEST:
                    self._file.seek(info.offset_data)
                    manifest = dict(json.loads(self._file.read(min(info.size, LARGEST_MANIFEST))))
                found[name] = (info.offset_data, info.size, self._hash(info))
        with self._sound():
            members = {row[0]: Member.of(row) for row in manifest["members"]}
            told = {m.name: (m.size, m.sha256) for m in members.values()}
            result = Manifest.of(manifest)
        seen = {name: row[1:] for name, row in found.items() if name not in (MANIFEST, SUM)}
        if told != seen:
            raise self._damaged("its manifest tells of other contents")
        self._at = {name: row[0] for name, row in found.items()}
        return result, members

    def _allow(self, info: tarfile.TarInfo, name: str, found: dict[str, Any]) -> None:
        """Only plain files and folders, each once, below the folders that are ours."""
        parts = PurePosixPath(name).parts
        plain = (info.type == tarfile.REGTYPE and not info.issparse()) or info.isdir()
        plain = plain and info.size >= 0  # Python reads what a tar says: below 0 all
        strange = {"", ".", ".."} & set(name.rstrip("/").split("/"))
        if not plain or name in found or strange or "\0" in name or name.startswith("/"):
            raise self._damaged(f"{name[:100]!r} has no place in a backup")
        ours = len(parts) == 1 if parts[0] not in (*FILES, "database") else True
        if not ours or (len(parts) == 1 and not info.isdir() and parts[0] in FILES):
            raise self._damaged(f"{name[:100]!r} has no place in a backup")

    def _hash(self, info: tarfile.TarInfo) -> str:
        sum_, left = hashlib.sha256(), info.size
        self._file.seek(info.offset_data)
        while left and (data := self._file.read(min(left, 1 << 20))):
            sum_.update(data)
            left -= len(data)
        if left:
            raise self._damaged(f"{info.name[:100]!r} is cut off")
        if info.name.startswith("database/"):
            self._file.seek(info.offset_data)
            self._unpacked(info.name, self._file.read(min(info.size, 2 * PIECE)))
        return sum_.hexdigest()

    def _unpacked(self, name: str, data: bytes) -> bytes:
        """A piece of a table; never more than one has, whatever is packed there."""
        unpacker = zlib.decompressobj(wbits=31)
        try:
            plain = unpacker.decompress(data, 2 * PIECE)
        except zlib.error as exc:
            raise self._damaged(f"{name[:100]!r} cannot be unpacked") from exc
        if not unpacker.eof or unpacker.unused_data:
            raise self._damaged(f"{name[:100]!r} is no piece of a table")
        return plain

    def read(self, name: str) -> bytes:
        """A member that is known to be small."""
        self._file.seek(self._at[name])
        return self._file.read(self.members[name].size)

    def unpack(self, name: str) -> bytes:
        """A piece of a table."""
        return self._unpacked(name, self.read(name))

    def pieces(self, name: str) -> Iterator[bytes]:
        """A member of any size."""
        self._file.seek(self._at[name])
        left = self.members[name].size
        while left:
            data = self._file.read(min(left, 1 << 20))
            left -= len(data)
            yield data

    @contextlib.contextmanager
    def _sound(self) -> Iterator[None]:
        """What Python says of a tar or a JSON that is none, as a sentence."""
        try:
            yield
        except (
            tarfile.TarError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError,
            RecursionError,
        ) as exc:  # fmt: skip
            raise self._damaged(f"it is no proper archive ({exc})") from exc


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """What the system says of a file, as a sentence."""
    try:
        yield
    except FileExistsError as exc:
        raise BackupError(
            f"{what}: it is there already. Choose another name, or add --replace."
        ) from exc
    except OSError as exc:
        raise BackupError(f"{what}: {exc.strerror or exc}.") from exc


def text(values: dict[str, Any], comment: str) -> bytes:
    """A document as a member has it."""
    return document.dump(values, comment).encode()
