"""`memtrix-as backup` and `restore` at the command line: what goes in comes back, or nothing."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import date
from pathlib import Path

import asyncpg
import pytest
from ruamel.yaml import YAML

from memtrix_as import config
from memtrix_as import database as databases
from memtrix_as.backup.archive import Writer
from memtrix_as.backup.files import STAGE
from memtrix_as.backup.write import fill
from memtrix_as.db import agents, restored, workers
from memtrix_as.db.pool import connect
from memtrix_as.memory.journals import Journals
from memtrix_as.memory.persona import Persona
from memtrix_as.memory.search import search
from tests.rig.database import Database
from tests.rig.mind import ROOT, Installation, another

DAY, ANN = date(2026, 3, 18), "@ann:hs.test"
SECRET = "sk-or-v1-0123456789abcdef"

FILLED = """
with a as (insert into agents (name, user_id, display_name, model)
        values ('dennis', '@memtrix_dennis:hs.test', 'Dennis', 'test-model')),
    r as (insert into rooms (room_id, synced) values ('!a:hs.test', true))
insert into inbox (lane, kind, room_id, agent, payload)
select 'memtrix !a:hs.test', 'message', '!a:hs.test', 'memtrix', to_jsonb(n)
from generate_series(1, 9) n
"""


@pytest.fixture
async def old(database: Database, tmp_path: Path) -> Installation:
    """An installation with a bit of everything."""
    made = Installation(tmp_path / "old", database.dsn)
    made.values["providers"]["scripted"]["api_key"] = SECRET
    pool = await connect(made.dsn)
    loaded = config.load(made.config)
    await agents.keep_main(pool, agents.main(loaded))
    await Persona(pool, loaded).keep("memtrix")
    journals = Journals(pool, loaded)
    line = "- The boat is called Nessie."
    await journals.append("memtrix", DAY, "Learned", [line], people=[ANN])
    await pool.execute(FILLED)
    await pool.execute("update inbox set joined_to = id + 1 where id = (select min(id) from inbox)")
    await pool.close()
    work = made.folder / "workspace"
    (work / "attachments").mkdir()
    (work / "attachments" / "photo.jpg").write_bytes(os.urandom(9_000_000))
    (work / "empty").mkdir()
    (work / "SOUL.md").write_text("You are salty.\n")
    (work / "run.sh").write_text("#!/bin/sh\n")
    (work / "run.sh").chmod(0o755)
    (work / ("long " * 30 + "Größe\udcff.txt")).write_text("a name that is not UTF-8")
    (work / "link").symlink_to("/etc/passwd")
    (work / "folder").symlink_to("/etc")
    os.mkfifo(work / "pipe")
    (work / ".memtrix-0123").write_text("unfinished")
    (made.folder / "agents" / "dennis").mkdir(parents=True)
    (made.folder / "agents" / "dennis" / "SOUL.md").write_text("You cook.\n")
    return made


@pytest.fixture
async def new(postgres: Database, tmp_path: Path) -> AsyncIterator[Installation]:
    """Another machine, where nothing was yet."""
    made = await another(postgres, "elsewhere", tmp_path / "new", version="")
    yield made
    await postgres.fetch("drop database if exists elsewhere with (force)")


def taken(files: dict[str, bytes | None]) -> dict[str, bytes | None]:
    """What a backup takes of some files."""
    left = ("/link", "/folder", "/pipe", "/.memtrix-0123")
    return {name: data for name, data in files.items() if not name.endswith(left)}


async def test_there_and_back(old: Installation, new: Installation, tmp_path: Path) -> None:
    file = tmp_path / "mind.backup"
    told = await old.run("backup", file)
    assert "workspace/link" in told and "pipe" in told and "workspace/folder" in told
    assert file.stat().st_mode & 0o777 == 0o600
    before = await old.rows()
    told = await new.run("restore", file)
    assert "Restored what memtrix had" in told
    after = await new.rows()
    assert {**after, "rooms": before["rooms"]} == before, "rooms are asked for their members anew"
    assert new.files() == taken(old.files())
    assert (new.folder / "workspace" / "run.sh").stat().st_mode & 0o111
    rows = await new.fetch(
        "insert into inbox (lane, kind, room_id, payload) values ('', '', '', '1') returning id"
    )
    ids = await new.fetch("select max(id) as last from inbox")
    assert rows[0]["id"] == ids[0]["last"], "numbers go on where they were"
    pool = await connect(new.dsn)
    hits = await search(pool, [], "Nessie", agent="memtrix", people=[ANN])
    await pool.close()
    assert hits[0].day == DAY
    keys = (
        "select conrelid::regclass::text || conname from pg_constraint"
        " where contype = 'f' and convalidated order by 1"
    )
    assert await new.fetch(keys) == await old.fetch(keys)
    assert not await new.fetch("select from pg_trigger where tgenabled <> 'O'")


async def test_after_a_first_start_and_without_a_superuser(
    old: Installation, postgres: Database, tmp_path: Path
) -> None:
    """What a first start makes is nobody's mind; and the database's owner is enough."""
    file = tmp_path / "mind.backup"
    await old.run("backup", file)
    await postgres.fetch("drop role if exists plain")
    await postgres.fetch("create role plain login password 'plain-password'")
    new = await another(postgres, "elsewhere3", tmp_path / "new", version="")
    await new.fetch("create extension vector")
    await postgres.fetch("alter database elsewhere3 owner to plain")
    at = new.dsn.partition("@")[2]
    new.dsn = new.values["appservice"]["database"] = f"postgresql://plain:plain-password@{at}"
    await databases.migrate(new.dsn)
    pool, loaded = await connect(new.dsn), config.load(new.config)
    await agents.keep_main(pool, agents.main(loaded))
    await Persona(pool, loaded).keep("memtrix")
    await pool.close()
    (new.folder / "workspace" / "attachments").mkdir()
    assert "Restored" in await new.run("restore", file)
    assert new.files() == taken(old.files())
    before = await old.rows()
    assert {**await new.rows(), "rooms": before["rooms"]} == before
    await postgres.fetch("drop database elsewhere3 with (force)")
    await postgres.fetch("drop role plain")


async def test_the_configuration_comes_without_secrets(
    old: Installation, new: Installation, tmp_path: Path
) -> None:
    file = tmp_path / "mind.backup"
    old.values["search"] = {"searxng_url": "http://searx.test"}
    old.values["logging"] = {"level": "DEBUG"}
    await old.run("backup", file)
    data = file.read_bytes()
    appservice = old.values["appservice"]
    for secret in (SECRET, appservice["as_token"], appservice["hs_token"], old.dsn):
        assert secret.encode() not in data
    path = new.folder / "made.yaml"
    told = await new.run("restore", file, status=1, config=path)
    assert "providers.scripted.api_key: the secret $SCRIPTED_API_KEY" in told
    assert "appservice.database: the secret $DATABASE" in told and "memtrix-as -g" in told
    made = YAML(typ="safe", pure=True).load(path.read_text())
    assert made["providers"]["scripted"]["api_key"] == "$SCRIPTED_API_KEY"
    assert made["appservice"]["as_token"] == "generate me"
    assert made["search"] == old.values["search"] and made["models"] == old.values["models"]
    told = await new.run("restore", file)
    assert "differs from the backup's in: logging.level, search.searxng_url" in told


async def test_an_installation_in_use_is_left_alone(
    old: Installation, postgres: Database, tmp_path: Path
) -> None:
    file = tmp_path / "mind.backup"
    await old.run("backup", file)
    before, files = await old.rows(), old.files()
    told = await old.run("restore", file, status=1)
    for part in ("1 sub-agent", "9 messages", "1 journal entry", "SOUL.md", "dennis"):
        assert part in told
    assert (await old.rows(), old.files()) == (before, files)
    assert "is there already" in await old.run("backup", file, status=1)
    await old.run("backup", file, "--replace")
    old.values["appservice"]["bot_username"] = "other"
    assert "bot_username" in await old.run("restore", file, status=1)


async def test_not_while_a_service_runs(
    old: Installation, new: Installation, tmp_path: Path
) -> None:
    file = tmp_path / "mind.backup"
    await old.run("backup", file)
    connection = await asyncpg.connect(new.dsn, ssl=False)
    await workers.lock(connection, 7)
    assert "The service is running" in await new.run("restore", file, status=1)
    await workers.unlock(connection)
    assert await restored.lock(connection)
    assert "Another restore" in await new.run("restore", file, status=1)
    await connection.close()


async def test_an_older_one_is_brought_forward(
    old: Installation, postgres: Database, new: Installation, tmp_path: Path
) -> None:
    past = await another(postgres, "past", tmp_path / "past", "0007")
    await past.fetch(
        "insert into agents (name, user_id, display_name, model, main)"
        " values ('memtrix', '@memtrix:hs.test', 'Memtrix', 'old', true)"
    )
    await past.fetch("insert into rooms (room_id, synced) values ('!a:hs.test', true)")
    file = tmp_path / "mind.backup"
    connection = await asyncpg.connect(past.dsn, ssl=False)
    await write_at(past, connection, file)
    await connection.close()
    for target in (new, await another(postgres, "elsewhere2", tmp_path / "newer")):
        await target.run("restore", file)
        rows = await target.fetch("select configured, registered from agents")
        assert (rows[0]["configured"], rows[0]["registered"]) == ("old", False)
        assert (await target.fetch("select number from rooms"))[0]["number"] == 1
    await postgres.fetch("drop database past with (force)")
    await postgres.fetch("drop database elsewhere2 with (force)")


async def write_at(past: Installation, connection: asyncpg.Connection, file: Path) -> None:
    """A backup as the Memtrix of that schema would have written it."""
    with closing(Writer(file)) as writer:
        await fill(writer, connection, config.load(past.config), past.config, False)


def taken_there(place: Installation) -> set[str]:
    """The files that are where they belong."""
    return {name for name, data in place.files().items() if data is not None and STAGE not in name}


async def test_killed_at_any_moment(old: Installation, new: Installation, tmp_path: Path) -> None:
    """Whenever a restore dies, the same command brings all of it back in the end."""
    file = tmp_path / "mind.backup"
    await old.run("backup", file)
    told = ""
    for seconds in (0.8, 1.2, 1.5, 1.8, 2.1, 2.5, 3.0, 4.0, 600.0):
        command = *(sys.executable, "-m", "memtrix_as", "restore", str(file)), "-c", new.config
        child = await asyncio.create_subprocess_exec(
            *map(str, command), env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            told = (await asyncio.wait_for(child.communicate(), seconds))[0].decode()
            break
        except TimeoutError:
            child.kill()
            await child.wait()
        if await new.fetch("select from pg_tables where tablename = 'agents'"):
            pool = await connect(new.dsn)
            filled = await restored.content(pool)
            assert not filled or await restored.read(pool)
            assert filled or not taken_there(new), "no files without their rows"
            await pool.close()
    assert "Restored" in told or "Finished" in told or "is in use" in told
    assert new.files() == taken(old.files())
    after, before = await new.rows(), await old.rows()
    assert {**after, "rooms": before["rooms"]} == before
