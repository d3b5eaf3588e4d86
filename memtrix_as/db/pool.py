"""The connection pool, and whether the database behind it is the one that we need."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from memtrix_as.db import restored
from memtrix_as.errors import DatabaseError

MIGRATIONS = Path(__file__).parents[2] / "migrations" / "versions"

# asyncpg ships no types; what we use of it is small enough to name.
Pool = Any
Connection = Any

DOWN = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,  # it stops, starts, or cancelled the query
    asyncpg.InsufficientResourcesError,  # no disk, memory or connection left
    asyncpg.TransactionRollbackError,  # a deadlock
    asyncpg.ReadOnlySQLTransactionError,  # a failover
    TimeoutError,
)
"""What a query raises while the database is away; the same query may work later."""

FAILURES = (*DOWN, asyncpg.PostgresError)
"""Whatever a query raises."""


async def connect(dsn: str, size: int = 10) -> Pool:
    """A pool of at most `size` connections that speak jsonb as Python values."""
    try:
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            init=_speak_json,
            reset=_leave_as_it_is,
            command_timeout=60,
            timeout=20,
        )
    except (OSError, asyncpg.PostgresError, TimeoutError, ValueError) as exc:
        raise DatabaseError(f"appservice.database: PostgreSQL cannot be reached: {exc}") from exc
    return _InTurn(pool, size)


class _InTurn:
    """asyncpg's pool, but who comes first is served first.

    asyncpg waits at an `asyncio.Queue`, where whoever comes while a waiter is about to wake takes
    what that one was woken for, and sends it to the end of the line: some turns then take ten
    times as long as others. A semaphore hands over what is free.
    """

    def __init__(self, pool: Pool, size: int) -> None:
        self._pool = pool
        self._free = asyncio.Semaphore(size)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        async with self._free, self._pool.acquire() as connection:
            yield connection

    async def fetch(self, query: str, *args: Any) -> Any:
        async with self.acquire() as connection:
            return await connection.fetch(query, *args)

    async def fetchrow(self, query: str, *args: Any) -> Any:
        async with self.acquire() as connection:
            return await connection.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        async with self.acquire() as connection:
            return await connection.fetchval(query, *args)

    async def execute(self, query: str, *args: Any) -> Any:
        async with self.acquire() as connection:
            return await connection.execute(query, *args)

    async def executemany(self, query: str, args: Any) -> Any:
        async with self.acquire() as connection:
            return await connection.executemany(query, args)

    async def close(self) -> None:
        await self._pool.close()

    def terminate(self) -> None:
        self._pool.terminate()

    def get_size(self) -> int:
        """Connections that are open."""
        return int(self._pool.get_size())

    def get_idle_size(self) -> int:
        """Those of them that nobody uses."""
        return int(self._pool.get_idle_size())


async def _speak_json(connection: Connection) -> None:
    await connection.set_type_codec(
        "jsonb", encoder=to_json, decoder=json.loads, schema="pg_catalog"
    )


async def _leave_as_it_is(_: Connection) -> None:
    """asyncpg's own reset would be one more round trip after each query.

    Nothing of ours outlives a transaction but the worker's lock, which `queue` gives back.
    """


def to_json(value: Any) -> str:
    """JSON that PostgreSQL takes: its text has no NUL, and jsonb no lone surrogates."""
    text = json.dumps(value, ensure_ascii=True)
    if "\\u0000" in text or "\\ud" in text.lower():
        text = json.dumps(clean(value), ensure_ascii=True)
    return text


def clean(value: Any) -> Any:
    """The same value in characters that PostgreSQL can store: U+FFFD for NUL and surrogates."""
    if isinstance(value, str):
        return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in value)
    if isinstance(value, dict):
        return {clean(k): clean(v) for k, v in value.items()}
    if isinstance(value, list):
        return [clean(v) for v in value]
    return value


async def reachable(pool: Pool) -> None:
    """Wait until the database answers."""
    while True:
        try:
            await pool.fetchval("select 1")
            return
        except (*DOWN, asyncpg.PostgresError):
            await asyncio.sleep(1)


async def tables(pool: Pool) -> tuple[str | None, str]:
    """The migration that the database is at, None without our tables; and the one it should be."""
    wanted = max(path.stem.split("_")[0] for path in MIGRATIONS.glob("[0-9]*.py"))
    try:
        return await pool.fetchval("select version_num from alembic_version"), wanted
    except asyncpg.UndefinedTableError:
        return None, wanted


async def check(pool: Pool) -> None:
    """Raise DatabaseError unless the schema is the one that this version was written for.

    Also while a restore has not come to its end.
    """
    last = await restored.read(pool)
    if await restored.running(pool) or (last and not last.placed):
        raise DatabaseError(
            "A restore works on this installation, or was cut short: wait for its end, or run "
            "`memtrix-as restore FILE` with the same file once more."
        )
    found, wanted = await tables(pool)
    if found != wanted:
        state = f"at version {found}" if found else "empty"
        raise DatabaseError(
            f"The database is {state}, this version needs {wanted}: run `alembic upgrade head` "
            "(MEMTRIX_CONFIG names the configuration, config.yaml if it is not set)."
        )
