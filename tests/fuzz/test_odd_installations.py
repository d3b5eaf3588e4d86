"""The import of an installation whose files are anything at all: what can be is taken, and the
rest is told of by its name."""

import json
import os
from pathlib import Path

import pytest

from memtrix_as import original
from memtrix_as.errors import BackupError
from tests.fuzz.junk import nested
from tests.rig.database import Database
from tests.rig.mind import Installation

DAYS = {
    "2026-01-01": b"## Learned\n\n- Salt.\n",
    "2026-01-02": b"- not \xff UTF-8\n",
    "2026-01-03": b"- a NUL \0 in it\n",
    "2026-01-04": b"- " + b"long " * 60_000,
    "2026-01-05": b"# a" + b" " * 200_000 + b"b\n",
    "2026-01-06": b"---\ntitle: without an end\n- x\n",
    "2026-01-07": b"```\nwithout an end\n## Learned\n",
    "2026-01-08": b"x" * (17 << 20),
    "2026-01-09": b"",
    "2026-01-10": b"\xff\xfe\x00\xd8",
    "2026-01-11": b'- x\n<!-- memtrix {"for": ' + nested(50_000).encode() + b"} -->\n",
    "2026-01-12": b'- x\n<!-- memtrix {"for": ["\\ud800"], "room": "\\u0000"} -->\n',
    "2026-02-30": b"- no such day\n",
}
WRONG = ["2026-01-02", "2026-01-08", "2026-01-10", "2026-02-30"]


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    root = tmp_path / "theirs"
    work, memory = root / "workspace", root / "workspace" / "memory"
    (work / "attachments").mkdir(parents=True)
    memory.mkdir()
    for day, data in DAYS.items():
        (memory / f"{day}.md").write_bytes(data)
    (memory / "2026-01-20.md").mkdir()
    os.mkfifo(memory / "2026-01-21.md")
    (work / "SOUL.md").write_bytes(b"not \xff UTF-8")
    (work / "USER.md").write_bytes(b"a NUL \0")
    (work / "MEMORY.md").write_bytes(b"x" * (2 << 20))
    (work / "BEHAVIOR.md").write_bytes(b"---\nwithout an end\n" + b"long " * 100_000)
    os.mkfifo(work / "pipe")
    for name in (b"\xff.txt", b"a\nb.txt", "\u202etxt.exe".encode(), b"x" * 250):
        (work / "attachments" / os.fsdecode(name)).write_bytes(b"x")
        (work / os.fsdecode(name)).write_bytes(b"x")
    for name in (b"\xff", b"dennis", b"a" * 240, b"olga"):
        (root / "agents" / os.fsdecode(name)).mkdir(parents=True)
        (root / "agents" / os.fsdecode(name) / "SOUL.md").write_bytes(b"soul")
    told = {"dennis": {"display_name": "Dennis", "description": "\ud800\0cooking"},
            "olga": {"display_name": ["x"], "description": {"a": 1}, "model": {}}}  # fmt: skip
    (root / "data").mkdir()
    (root / "data" / "config.json").write_text(json.dumps({"agents": told, "main-agent": []}))
    return root


async def test_what_can_be_is_taken(
    database: Database, tmp_path: Path, theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")
    ours = Installation(tmp_path / "ours", database.dsn)
    for who in ("everyone", "@ann:hs.test"):  # the same again changes nothing, and breaks nothing
        said = await ours.run("import", theirs, "--for", who, status=1)
        for day in WRONG:
            assert f"{day}.md: " in said
        for file in ("SOUL.md", "USER.md", "MEMORY.md"):
            assert f"{file} was not taken" in said
    days = await ours.fetch("select distinct day::text as day from journal_entries order by day")
    good = sorted(DAYS.keys() - {*WRONG, "2026-01-09"})
    assert [row["day"] for row in days] == good
    names = await ours.fetch("select name from agents where not main order by name")
    assert [row["name"] for row in names] == ["dennis"]
    assert said.count("is not taken: ") == 3
    assert (ours.folder / "workspace" / "BEHAVIOR.md").stat().st_size > 400_000


@pytest.mark.parametrize(
    "data", [b"\xff", b"[", nested(200_000).encode(), b"9" * 5000, b'{"a":' * 100_000, b"\0", b""]
)
def test_a_configuration_that_is_none_is_told(theirs: Path, data: bytes) -> None:
    (theirs / "data" / "config.json").write_bytes(data)
    with pytest.raises(BackupError, match=r"config\.json cannot be read"):
        original._told(theirs)
