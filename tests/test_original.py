"""`memtrix-as import`: the installation of a Memtrix becomes this one's mind."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from memtrix_as import config
from memtrix_as.db import attachments
from memtrix_as.db.pool import connect
from memtrix_as.memory.journals import Journals
from memtrix_as.memory.persona import Persona
from memtrix_as.memory.search import search
from tests.rig.database import Database
from tests.rig.mind import Installation

ANN = "@ann:hs.test"
JOURNAL = (
    "# Memory 2026-03-18\n\n## Conversations\n\n- Ann's boat is called Nessie.\n\n## Decisions\n"
)
TOLD: dict[str, Any] = {
    "main-agent": {"name": "Jarvis", "model": "big", "matrix_access_token": "syt_secret_main"},
    "agents": {
        "dennis": {
            "description": "Cooking and recipes", "display_name": "Dennis ⚡",
            "model": "test-model", "matrix_access_token": "syt_secret_dennis",
        },
        "mary-ann": {"description": "Law", "display_name": "Mary Ann", "model": "big"},
    },
    "models": {"big": {"provider": "x", "model": "y"}, "test-model": {}},
}  # fmt: skip


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A Memtrix installation as it lies on the disk."""
    root = tmp_path / "theirs"
    for folder in ("workspace", "agents/dennis", "agents/mary-ann", "agents/Main"):
        home = root / folder
        for below in ("memory", "attachments", "downloads"):
            (home / below).mkdir(parents=True)
        (home / "AGENT.md").write_text(f"You are of {folder}.\n{{{{BEHAVIOR}}}}\n{{{{USER}}}}\n")
        (home / "SOUL.md").write_text(f"The soul of {folder}.\n")
        (home / "BEHAVIOR.md").write_text("Be brief.\n")
        (home / "MEMORY.md").write_text("Nothing yet.\n")
    work = root / "workspace"
    (work / "USER.md").write_text("My human is Ann.\n")
    (root / "agents" / "dennis" / "USER.md").symlink_to(work / "USER.md")
    (work / "memory" / "2026-03-18.md").write_text(JOURNAL)
    (root / "agents" / "dennis" / "memory" / "2026-03-19.md").write_text("## Learned\n\n- Salt.\n")
    (work / "attachments" / "list.txt").write_text("Milk, eggs")
    (work / "plan.md").write_text("The plan.\n")
    (work / "leak").symlink_to("/etc/passwd")
    (root / "data").mkdir()
    (root / "data" / "config.json").write_text(json.dumps(TOLD))
    return root


@pytest.fixture
def ours(database: Database, tmp_path: Path) -> Installation:
    return Installation(tmp_path / "ours", database.dsn)


async def test_an_installation_is_taken_over(ours: Installation, theirs: Path) -> None:
    told = await ours.run("import", theirs, "--for", ANN, status=1)
    assert "agents/Main is not taken" in told and "Jarvis" in told and "no model big" in told
    assert "Dennis (dennis), was made" in told
    rows = await ours.fetch(
        "select name, user_id, display_name, expertise, model, registered, state from agents"
        " where not main order by name"
    )
    assert [tuple(row) for row in rows] == [
        ("dennis", "@memtrix_dennis:hs.test", "Dennis", "Cooking and recipes", "test-model", False,
         "active"),
        ("mary-ann", "@memtrix_mary-ann:hs.test", "Mary Ann", "Law", "test-model", False, "active"),
    ]  # fmt: skip
    files = ours.files()
    assert files["workspace/AGENT.md"] == (theirs / "workspace" / "AGENT.md").read_bytes()
    assert files["agents/dennis/SOUL.md"] == b"The soul of agents/dennis.\n"
    assert files["workspace/attachments/list.txt"] == b"Milk, eggs"
    assert not {"workspace/leak", "agents/dennis/USER.md", "agents/Main"} & files.keys()
    assert not [name for name in files if "/memory" in name]
    pool = await connect(ours.dsn)
    loaded = config.load(ours.config)
    assert await Persona(pool, loaded).read("dennis", "USER.md") == "My human is Ann.\n"
    assert (await Persona(pool, loaded).history("dennis", "SOUL.md"))[0].author == "human"
    day = await Journals(pool, loaded).read("memtrix", date(2026, 3, 18), None)
    last = day.entries[-1]
    assert (last.section, last.people) == ("Conversations", (ANN,)) and "Nessie" in last.text
    hits = await search(pool, [], "Nessie", agent="memtrix", people=[ANN])
    assert hits[0].day == date(2026, 3, 18)
    assert await search(pool, [], "salt", agent="dennis", people=[ANN])
    assert not await search(pool, [], "Nessie", agent="memtrix", people=["@ben:hs.test"])
    hidden = await attachments.kept_from(pool, "memtrix", ["@ben:hs.test"])
    assert hidden == {"attachments/list.txt"}, "what was sent is for those who may know it"
    assert not await attachments.kept_from(pool, "memtrix", [ANN])
    await pool.close()
    everything = json.dumps([[dict(row) for row in await ours.fetch(f"select * from {table}")]
                             for table in ("agents", "persona_versions")], default=str)  # fmt: skip
    assert "syt_secret" not in everything


async def test_again_changes_nothing(ours: Installation, theirs: Path) -> None:
    await ours.run("import", theirs, status=1)
    before, files = await ours.rows(), ours.files()
    told = await ours.run("import", theirs, status=1)
    assert "was made" not in told and "new" not in told.replace("0 entries new", "")
    after = await ours.rows()
    changed = {name for name in after if after[name] != before[name]}
    assert changed <= {"world"} and ours.files() == files, "world counts that the main one was met"


async def test_what_differs_is_kept(ours: Installation, theirs: Path) -> None:
    await ours.run("import", theirs, status=1)
    plan, soul = (ours.folder / "workspace" / name for name in ("plan.md", "SOUL.md"))
    plan.write_text("Ours.\n")
    soul.write_text("Our soul.\n")
    told = await ours.run("import", theirs, status=1)
    assert "2 files kept (SOUL.md and others)" in told
    assert plan.read_text() == "Ours.\n" and soul.read_text() == "Our soul.\n"
    told = await ours.run("import", theirs, "--replace", status=1)
    assert "2 files replaced" in told
    assert plan.read_text() == "The plan.\n" and soul.read_text() == "The soul of workspace.\n"
    versions = await ours.fetch(
        "select text from persona_versions where file = 'SOUL.md' and agent = 'memtrix' order by id"
    )
    assert [row["text"] for row in versions][-2:] == ["Our soul.\n", "The soul of workspace.\n"]


async def test_a_rehearsal_changes_nothing(ours: Installation, theirs: Path) -> None:
    before = await ours.rows()
    told = await ours.run("import", theirs, "--dry-run", status=1)
    assert "Dennis (dennis), would be made: 4 files new" in told and "1 days of journal" in told
    assert "Nothing was changed" in told
    assert await ours.rows() == before and not ours.files()


async def test_without_a_configuration_the_folders_tell(ours: Installation, theirs: Path) -> None:
    (theirs / "data" / "config.json").unlink()
    (theirs / "agents" / "Main" / "AGENT.md").unlink()
    await ours.run("import", theirs, status=1)
    rows = await ours.fetch("select display_name from agents where not main order by name")
    assert [row["display_name"] for row in rows] == ["Dennis", "Mary Ann"]


async def test_what_is_no_installation(ours: Installation, theirs: Path, tmp_path: Path) -> None:
    assert "give the folder of a Memtrix" in await ours.run("import", tmp_path / "no", status=1)
    (theirs / "data" / "config.json").write_text("{")
    assert "config.json cannot be read" in await ours.run("import", theirs, status=1)
