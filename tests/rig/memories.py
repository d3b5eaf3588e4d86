"""A pool on a database with two agents that have a memory: `memtrix` and `coder`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from memtrix_as.db.pool import connect


@asynccontextmanager
async def two_agents(dsn: str) -> AsyncIterator[Any]:
    pool = await connect(dsn)
    for name in ("memtrix", "coder"):
        await pool.execute(
            "insert into agents (name, user_id, display_name, model) values ($1, $1, $1, 'none')",
            name,
        )
    yield pool
    await pool.close()
