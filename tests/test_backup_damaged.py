"""A backup that is not as it was written, or was written to do harm: refused, nothing changed."""

import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtrix_as.backup import archive, files
from memtrix_as.backup.archive import HEAD, Reader, Writer
from memtrix_as.errors import BackupError
from tests.rig.database import Database
from tests.rig.mind import Installation, another

Change = Callable[[bytes], bytes]


def head(**other: Any) -> dict[str, Any]:
    told = {"format": archive.FORMAT, "version": "0", "id": "x", "migration": "0001"}
    told |= {"taken_at": "2026-11-25T09:00:00+00:00", "bot_username": "memtrix"}
    return {**told, "domain": "hs.test", "tables": [], "needs": [], **other}


def written(path: Path, **told: Any) -> bytes:
    """A small archive of every kind of member."""
    with closing(Writer(path)) as writer:
        writer.add(HEAD, json.dumps(head(**told)).encode())
        writer.add("workspace/attachments/", b"", 0o755)
        writer.add("workspace/attachments/a.txt", b"text" * 300, 0o644, 1e9)
        writer.add("workspace/" + "long" * 80, b"")
        writer.pack("database/agents/000000.gz", b"rows" * 1000)
        writer.finish(head(**told), replace=True)
    return path.read_bytes()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(tmp_path_factory.mktemp("sound") / "sound")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "file"


def refused(data: bytes, place: Path) -> str:
    place.write_bytes(data)
    with pytest.raises(BackupError) as exc:
        Reader(place)
    return str(exc.value)


def test_what_was_written_is_read(sound: bytes, place: Path) -> None:
    place.write_bytes(sound)
    with closing(Reader(place)) as reader:
        assert b"".join(reader.pieces("workspace/attachments/a.txt")) == b"text" * 300
        assert reader.unpack("database/agents/000000.gz") == b"rows" * 1000
        assert reader.members["workspace/attachments/"].folder
    with tarfile.open(place) as tar:
        assert tar.getnames()[-1] == "SHA256", "any tar can read it"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_byte_of_it_may_change(sound: bytes, place: Path, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(sound) - 1))
    flip = data.draw(st.integers(1, 255))
    refused(sound[:at] + bytes([sound[at] ^ flip]) + sound[at + 1 :], place)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_none_may_be_missing_or_more(sound: bytes, place: Path, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(sound)))
    end = data.draw(st.integers(start, len(sound)))
    more = data.draw(st.binary(max_size=600))
    if (changed := sound[:start] + more + sound[end:]) != sound:
        refused(changed, place)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=5000))
def test_other_files_are_no_backup(place: Path, data: bytes) -> None:
    assert "is no backup of Memtrix" in refused(data, place)


def evil(members: list[tuple[tarfile.TarInfo, bytes]], told: bytes | None = None) -> bytes:
    """An archive with any members at all, whose sums are right."""
    out = io.BytesIO()
    rows = [[m.name + "/" * m.isdir(), m.size, hashlib.sha256(data).hexdigest(), m.mode, 0]
            for m, data in members]  # fmt: skip
    first, last = named(HEAD, json.dumps(head()).encode()), {**head(), "members": rows}
    rows.insert(0, [HEAD, first[0].size, hashlib.sha256(first[1]).hexdigest(), 0o600, 0])
    manifest = named(archive.MANIFEST, json.dumps(last).encode() if told is None else told)
    for info, data in [first, *members, manifest]:
        out.write(info.tobuf(tarfile.PAX_FORMAT))
        out.write(data + bytes(-len(data) % 512))
    digest = f"{hashlib.sha256(out.getvalue()).hexdigest()}\n".encode()
    info, _ = named(archive.SUM, digest)
    out.write(info.tobuf(tarfile.PAX_FORMAT) + digest.ljust(512, b"\0") + bytes(1024))
    return out.getvalue()


def named(name: str, data: bytes = b"", **how: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o600
    for key, value in how.items():
        setattr(info, key, value)
    return info, data


BAD = {
    "traversal": [named("workspace/../../etc/passwd", b"x")],
    "traversal within": [named("agents/dennis/../../../x", b"x")],
    "absolute": [named("/etc/passwd", b"x")],
    "absolute below": [named("workspace//etc/passwd", b"x")],
    "elsewhere": [named("data/postgres/password", b"x")],
    "a dot": [named("workspace/./x", b"x")],
    "link": [named("workspace/a", type=tarfile.SYMTYPE, linkname="/etc")],
    "hard link": [named("workspace/a", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
    "device": [named("workspace/a", type=tarfile.CHRTYPE)],
    "pipe": [named("workspace/a", type=tarfile.FIFOTYPE)],
    "twice": [named("workspace/a", b"x"), named("workspace/a", b"y")],
    "a file for a folder": [named("workspace", b"x")],
    "bomb": [named("database/agents/000000.gz", zlib.compress(bytes(64 << 20), 9, 31))],
    "no gzip": [named("database/agents/000000.gz", b"rows")],
    "two in one": [named("database/agents/000000.gz", zlib.compress(b"a", 9, 31) * 2)],
}


def test_the_one_who_does_harm_writes_well(place: Path) -> None:
    place.write_bytes(evil([named("workspace/a", b"x")]))
    Reader(place).close()


@pytest.mark.parametrize("members", BAD.values(), ids=BAD)
def test_whoever_wrote_it(members: list[tuple[tarfile.TarInfo, bytes]], place: Path) -> None:
    assert "damaged" in refused(evil(members), place)


@pytest.mark.parametrize("told", [b"", b"[]", b"{}", b'{"members": [[]]}', b'{"members": 1}'])
def test_a_manifest_that_is_none(told: bytes, place: Path) -> None:
    assert "damaged" in refused(evil([named("workspace/a", b"x")], told), place)


def test_a_file_and_a_folder_of_the_same_name(place: Path, tmp_path: Path) -> None:
    place.write_bytes(evil([named("workspace/a", b"x"), named("workspace/a/b", b"y")]))
    with closing(Reader(place)) as reader, pytest.raises(BackupError, match="cannot be written"):
        files.stage(reader, "workspace", tmp_path)


def test_another_format(place: Path) -> None:
    written(place, format=2, version="9.9")
    assert "made by Memtrix 9.9" in refused(place.read_bytes(), place)


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="cannot be written"):
        Writer(tmp_path / "nowhere" / "file")
    with closing(Writer(tmp_path / "file")) as writer:
        writer.add(HEAD, b"{}")
    assert not list(tmp_path.iterdir())


def rewritten(file: Path, to: Path, name: str, data: bytes) -> None:
    """The same backup with another member of this name, well written."""
    with tarfile.open(file) as tar, closing(Reader(file)) as reader:
        manifest = json.load(tar.extractfile(archive.MANIFEST))  # type: ignore[arg-type]
        with closing(Writer(to)) as writer:
            for member in reader.members.values():
                same = b"" if member.folder else reader.read(member.name)
                writer.add(member.name, data if member.name == name else same)
            writer.finish(manifest, replace=True)


def taken(place: Installation) -> list[str]:
    """What is in its folders, which a restore makes."""
    return [name for name, data in place.files().items() if data is not None]


CHANGES: dict[str, Change] = {
    "a byte": lambda data: data[: len(data) // 2] + b"!" + data[len(data) // 2 + 1 :],
    "cut off": lambda data: data[: len(data) // 2 // 512 * 512],
}


async def test_the_command_changes_nothing(database: Database, tmp_path: Path) -> None:
    old = Installation(tmp_path / "old", database.dsn)
    (old.folder / "workspace").mkdir()
    (old.folder / "workspace" / "notes.md").write_text("notes" * 10_000)
    file = tmp_path / "mind.backup"
    await old.run("backup", file)
    new = await another(database, "elsewhere", tmp_path / "new")
    before = await new.rows()
    sound = file.read_bytes()
    for change in CHANGES.values():
        file.write_bytes(change(sound))
        told = await new.run("restore", file, status=1)
        assert "damaged" in told and "Nothing was changed" in told
        assert not new.files() and await new.rows() == before
    # What only the database finds wrong changes nothing either.
    file.write_bytes(sound)
    for wrong in (b"", b"no rows", b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\1"):
        bad = tmp_path / "bad"
        rewritten(file, bad, "database/world/000000.gz", zlib.compress(wrong, 1, 31))
        told = await new.run("restore", bad, status=1)
        assert "does not take the backup's rows" in told or "came back with 0 rows" in told
        assert not taken(new) and await new.rows() == before
    file.write_bytes(sound)
    assert "Restored" in await new.run("restore", file)
    await database.fetch("drop database elsewhere with (force)")
