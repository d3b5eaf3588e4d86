"""What is known of a restore: written where every version of the schema has a place for it.

A comment on the table of the schema's version, which goes into the same transaction as the data
and lives through every migration. So whoever opens the database knows whether its files follow.
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

RESTORING = 0x4D580004  # the advisory lock of a restore while it works

# What an installation has that is in use; a table may not be there in an older schema.
CONTENT = {
    "agents": ("sub-agent", "select count(*) from agents where not main"),
    "sessions": ("conversation", "select count(*) from sessions"),
    "turns": ("turn", "select count(*) from turns"),
    "inbox": ("message", "select count(*) from inbox where kind = 'message'"),
    "journal_entries": ("journal entry", "select count(*) from journal_entries"),
    "passages": ("remembered passage", "select count(*) from passages"),
    "persona_versions": (
        "persona text", "select count(*) from persona_versions where author <> 'template'",
    ),
    "attachments": ("attachment", "select count(*) from attachments"),
    "permissions": ("permission", "select count(*) from permissions"),
    "usage": ("noted model call", "select count(*) from usage"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Restored:
    """The restore that this database comes from."""

    id: str  # of the backup
    taken_at: datetime
    loaded_at: datetime  # by the database's clock, as rows are dated
    placed: bool = False  # its files are where they belong
    settled: bool = False  # what the homeserver knows of the time between is taken note of


async def read(db: Any) -> Restored | None:
    """The restore that the database comes from, if it does."""
    text = await db.fetchval("select obj_description(to_regclass('alembic_version'), 'pg_class')")
    try:
        told = json.loads(text or "")["restored"]
        times = {key: datetime.fromisoformat(told[key]) for key in ("taken_at", "loaded_at")}
        return Restored(**{**told, **times})
    except (ValueError, KeyError, TypeError):
        return None


async def write(db: Any, restored: Restored) -> None:
    told = asdict(restored)
    for key in ("taken_at", "loaded_at"):
        told[key] = told[key].isoformat()
    text = json.dumps({"restored": told})
    await db.execute(await db.fetchval(
        "select format('comment on table alembic_version is %L', $1::text)", text
    ))  # fmt: skip


async def placed(db: Any, restored: Restored) -> None:
    await write(db, replace(restored, placed=True))


async def settled(db: Any, restored: Restored) -> None:
    await write(db, replace(restored, settled=True))


async def lock(connection: Any) -> bool:
    """Keep services and other restores away, for as long as the connection lives."""
    return bool(await connection.fetchval("select pg_try_advisory_lock($1)", RESTORING))


async def running(db: Any) -> bool:
    """Whether a restore works on the database."""
    return bool(
        await db.fetchval(
            """
            select exists (select from pg_locks where locktype = 'advisory' and objsubid = 1
                and classid = 0 and objid = $1::bigint::oid and pid <> pg_backend_pid()
                and database = (select oid from pg_database where datname = current_database()))
            """,
            RESTORING,
        )
    )


async def revision(db: Any) -> str | None:
    """The version of the schema; None where there is none."""
    if await db.fetchval("select to_regclass('alembic_version') is null"):
        return None
    found: str | None = await db.fetchval("select max(version_num) from alembic_version")
    return found


async def content(db: Any) -> list[tuple[str, int]]:
    """What is in the database that only one in use has: what it is, and how many of it."""
    found = []
    for table, (what, query) in CONTENT.items():
        if await db.fetchval("select to_regclass($1) is not null", table):
            if count := await db.fetchval(query):
                found.append((what, int(count)))
    return found
