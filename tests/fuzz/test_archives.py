"""A backup that somebody has written to do harm, all its sums right: read, or refused in words."""

import hashlib
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtrix_as.backup import files
from memtrix_as.backup.archive import HEAD, Reader, _tail
from memtrix_as.errors import BackupError
from tests.fuzz.junk import JSON, NUMBERS, TEXTS, nested, tries
from tests.test_backup_damaged import evil, head, named

BODY = evil([named("workspace/a", b"x" * 600), named("agents/b", type=b"5")])[: -4 * 512]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archives")


def told(folder: Path, data: bytes) -> str:
    """What reading says; empty if all of it was laid down."""
    (folder / "file").write_bytes(data)
    try:
        with closing(Reader(folder / "file")) as reader:
            files.stage(reader, "workspace", folder / "new")
    except BackupError as exc:
        assert len(str(exc)) < 2000
        return str(exc)
    return ""


def manifest(mode: Any = 0o600, mtime: Any = 0, **other: Any) -> bytes:
    """Of an archive with one file, with anything at all in some places."""
    first = json.dumps(head()).encode()
    rows = [[HEAD, len(first), hashlib.sha256(first).hexdigest(), 0o600, 0],
            ["workspace/a", 1, hashlib.sha256(b"x").hexdigest(), mode, mtime]]  # fmt: skip
    return json.dumps({**head(), "members": rows, **other}).encode()


@pytest.mark.parametrize(
    "wrong",
    [
        manifest(mode="0600"),
        manifest(mtime=None),
        manifest(mtime=1e300),
        manifest(mtime=float("nan")),
        manifest(tables=[{"name": "a", "columns": [], "next": {"id": float("inf")}, "rows": 1}]),
        b'{"members": ' + nested(100_000).encode() + b"}",
        nested(100_000).encode(),
        b'{"members": [' + b"9" * 5000 + b"]}",
    ],
    ids=lambda wrong: wrong[-30:].decode(),
)
def test_a_manifest_that_is_odd_is_told(folder: Path, wrong: bytes) -> None:
    assert not told(folder, evil([named("workspace/a", b"x")], manifest()))
    assert "damaged" in told(folder, evil([named("workspace/a", b"x")], wrong))


def changed(at: int, put: bytes) -> bytes:
    """The archive with other bytes at a place; the sums of the header and of the file are right."""
    body = bytearray(BODY)
    body[at : at + len(put)] = put
    begin = at // 512 * 512
    header = body[begin : begin + 512]
    header[148:156] = b" " * 8
    body[begin + 148 : begin + 156] = b"%06o\0 " % sum(header)
    return bytes(body) + _tail(hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("put", [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"7" * 11 + b"\0"])
def test_a_size_that_no_file_has_is_told(folder: Path, put: bytes) -> None:
    for member in (0, BODY.index(b"workspace/a")):
        assert "damaged" in told(folder, changed(member + 124, put))


@tries(60)
@given(st.integers(0, len(BODY) - 20), st.binary(min_size=1, max_size=12))
def test_any_header_is_read_or_refused(folder: Path, at: int, put: bytes) -> None:
    told(folder, changed(at, put))


TABLE = st.fixed_dictionaries(
    {
        "name": TEXTS | JSON,
        "columns": JSON,
        "next": st.dictionaries(TEXTS, NUMBERS) | JSON,
        "rows": NUMBERS | JSON,
    }
)


@tries(60)
@given(
    st.sampled_from(["format", "taken_at", "needs", "domain", "migration", "tables", "members"]),
    JSON | st.lists(TABLE | st.lists(JSON, min_size=5, max_size=5), max_size=2),
    NUMBERS | JSON,
    NUMBERS | JSON,
)
def test_any_manifest_is_read_or_refused(
    folder: Path, field: str, value: Any, mode: Any, mtime: Any
) -> None:
    told(folder, evil([named("workspace/a", b"x")], manifest(**{field: value})))
    told(folder, evil([named("workspace/a", b"x")], manifest(mode, mtime)))
