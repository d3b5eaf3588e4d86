"""`python -m tests.benchmarks.backup`: how long backup and restore take, and how large the file is.

One agent with so many passages (768 dimensions), five messages for each, and files of 1 MB.
"""

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

import asyncpg

from memtrix_as import database
from memtrix_as.db import pool
from memtrix_as.local.postgres import EmbeddedPostgres
from tests.benchmarks.figures import table
from tests.benchmarks.search.__main__ import Memory
from tests.benchmarks.search.corpus import Corpus
from tests.rig.mind import Installation

TALK = """
with s as (insert into sessions (agent, room_id) values ('memtrix', '!a:x') returning id),
    i as (insert into inbox (lane, kind, room_id, agent, event_id, payload, done_at)
        select 'memtrix !a:x', 'message', '!a:x', 'memtrix', '$' || n,
            jsonb_build_object('sender', '@ann:x', 'body', repeat('words ', 15)), now()
        from generate_series(1, $1::int) n returning id, event_id),
    t as (insert into turns (id, session_id, event_id, sender, state)
        select i.id, s.id, i.event_id, '@ann:x', 'done' from i, s returning id, session_id)
insert into messages (session_id, turn_id, role, text)
select session_id, id, 'assistant', repeat('an answer in words ', 15) from t
"""


async def measure(size: int, files: int, folder: Path) -> list[str]:
    async with EmbeddedPostgres(folder / "server", durable=True) as server:
        await database.migrate(server.dsn)
        db = await pool.connect(server.dsn, 1)
        memory = Memory(db, Corpus(768), 768)
        await memory.begin()
        await memory.fill(size)
        await db.execute(TALK, size * 5, timeout=3600)
        on_disk = await db.fetchval("select pg_database_size(current_database())")
        await db.execute("create database elsewhere")
        await db.close()
        old = Installation(folder / "old", server.dsn)
        (old.folder / "workspace").mkdir()
        for n in range(files):
            (old.folder / "workspace" / f"{n}.bin").write_bytes(os.urandom(1_000_000))
        new = Installation(folder / "new", server.dsn.replace("/memtrix", "/elsewhere"))
        connection = await asyncpg.connect(new.dsn)
        await connection.execute("create extension if not exists vector")
        await connection.close()
        file, spent = folder / "file", []
        for place, command in ((old, "backup"), (new, "restore")):
            began = time.perf_counter()
            await place.run(command, file)
            spent.append(f"{time.perf_counter() - began:.1f} s")
        sizes = [f"{n / 1e6:,.0f} MB" for n in (on_disk, file.stat().st_size - files * 1_000_000)]
        return [f"{size:,}", f"{size * 5:,}", *sizes, f"{files} MB", *spent]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passages", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--files", type=int, default=100, help="of 1 MB each")
    options = parser.parse_args()
    rows = []
    for size in options.passages:
        with tempfile.TemporaryDirectory() as at:
            rows.append(await measure(size, options.files, Path(at)))
    heads = ["passages", "messages", "database", "in the file", "files", "backup", "restore"]
    print(table(heads, rows))


if __name__ == "__main__":
    asyncio.run(main())
