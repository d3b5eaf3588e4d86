"""Core files on disk: read whatever an editor leaves there, written whole or not at all."""

import os
import time
from pathlib import Path

import pytest

from memtrix_as.memory import core_files
from memtrix_as.memory.core_files import create, look, replace


@pytest.mark.parametrize(
    "data",
    [
        b"caf\xc3\xa9\nno\n",
        b"\xef\xbb\xbfcaf\xc3\xa9\r\nno\r\n",
        b"caf\xc3\xa9\rno\r",
        "café\r\nno\r\n".encode("utf-16"),
    ],
)
def test_any_editor_s_text_is_read(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "SOUL.md"
    path.write_bytes(data)
    assert look(path).text == "café\nno\n"


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (b"caf\xe9", "UTF-8"),
        (b"\xff\xfea", "UTF-8"),
        (b"a\0b", "UTF-8"),
        (b"x" * (core_files.LARGEST + 1), "larger"),
    ],
)
def test_what_is_no_text_is_said_with_the_way_out(tmp_path: Path, what: bytes, told: str) -> None:
    path = tmp_path / "SOUL.md"
    path.write_bytes(what)
    assert told in (look(path).problem or "") and look(path).text == ""
    assert replace(path, "new", "") == (False, None)
    assert path.read_bytes() == what


def test_links_folders_and_pipes_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    link, folder, pipe = tmp_path / "SOUL.md", tmp_path / "USER.md", tmp_path / "MEMORY.md"
    link.symlink_to(secret)
    folder.mkdir()
    os.mkfifo(pipe)
    assert "symbolic link" in (look(link).problem or "")
    assert "not a file" in (look(folder).problem or "")
    assert "not a file" in (look(pipe).problem or "")
    dangling = tmp_path / "BEHAVIOR.md"
    dangling.symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in (look(dangling).problem or "")
    create(dangling, "text")
    assert not (tmp_path / "elsewhere").exists()
    assert not [left for left in os.listdir(tmp_path) if left.endswith(".tmp")]


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "SOUL.md"
    path.write_text("one")
    first = look(path)
    path.write_text("two")
    assert look(path, first).text == "two", "of a young file the time says nothing"
    long_ago = time.time() - 60
    os.utime(path, (long_ago, long_ago))
    young = look(path)
    assert not young.settled, "nor does a time that was set by hand"
    old = core_files.Seen("two", signature=young.signature, settled=True)
    assert look(path, old) is old
    path.write_text("six")
    os.utime(path, (long_ago, long_ago))
    assert look(path, old).text == "six", "same size, same time: the change time tells"


def test_a_file_is_replaced_with_its_mode_and_only_if_it_is_as_expected(tmp_path: Path) -> None:
    path = tmp_path / "SOUL.md"
    path.write_bytes(b"\xef\xbb\xbfold\r\n")
    path.chmod(0o640)
    assert replace(path, "new\n", "other\n") == (False, None)
    assert replace(path, "new\n", "old\n") == (True, None)
    assert path.read_text() == "new\n" and path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["SOUL.md"]


def test_what_was_written_in_the_last_moment_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "SOUL.md", os.replace
    path.write_text("old")

    def late(source: Path, target: Path) -> None:
        path.write_text("by hand")  # into the file, between our last look and the replacement
        real(source, target)

    monkeypatch.setattr(os, "replace", late)
    assert replace(path, "new", "old") == (True, "by hand")
    assert path.read_text() == "new"


def test_making_never_takes_the_place_of_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "agents" / "dennis" / "SOUL.md"
    create(path, "first")
    create(path, "second")
    assert path.read_text() == "first"
    left = path.with_name(".SOUL.md.abc.tmp")
    left.write_text("half")
    core_files.sweep(path.parent)
    assert left.exists(), "somebody may be writing it"
    os.utime(left, (1, 1))
    core_files.sweep(path.parent)
    assert os.listdir(path.parent) == ["SOUL.md"]
