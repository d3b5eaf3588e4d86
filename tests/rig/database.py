"""The one PostgreSQL of a test session: migrated once, emptied between tests."""

import asyncio
import os
import sys
from pathlib import Path

import asyncpg

from memtrix_as.local.ports import free_port
from memtrix_as.local.postgres import EmbeddedPostgres
from tests.rig.settings import settings, tokens, write

ROOT = Path(__file__).parents[2]


class Database:
    """A server in `folder` and the database `memtrix` in it, at `dsn`."""

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedPostgres(folder, durable=False, port=free_port())
        self._delete = ""
        self.dsn = ""

    @classmethod
    def at(cls, dsn: str) -> "Database":
        """Another database of a server that runs."""
        other = cls(Path())
        other.dsn = dsn
        return other

    async def start(self) -> None:
        self.dsn = await self._server.start()

    async def stop(self) -> None:
        """Also for tests: the database is away until `start`, with its data and its address."""
        await self._server.stop()

    async def migrate(self, folder: Path) -> None:
        """As an operator does it: `alembic upgrade head`."""
        values = settings(tokens("memtrix"), "http://127.0.0.1:9", 1, self.dsn)
        config = write(folder / "config.yaml", values)
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "alembic", "upgrade", "head"),
            cwd=ROOT,
            env={**os.environ, "MEMTRIX_CONFIG": str(config)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await child.communicate()
        assert child.returncode == 0, f"alembic upgrade head:\n{output.decode()}"

    async def empty(self) -> None:
        """Delete every row: hundreds of times quicker than TRUNCATE or a fresh database."""
        connection = await asyncpg.connect(self.dsn, ssl=False)
        try:
            if not self._delete:
                tables = await connection.fetch(
                    "select quote_ident(tablename) as name from pg_tables"
                    " where schemaname = 'public' and tablename <> 'alembic_version'"
                )
                # Without triggers and foreign keys for this session, the order is free.
                deletes = [f"delete from {row['name']}" for row in tables]
                self._delete = "; ".join(["set session_replication_role = replica", *deletes])
            await connection.execute(self._delete)
        finally:
            await connection.close()

    async def fetch(self, sql: str, *values: object) -> list[asyncpg.Record]:
        """Look into the database, for what cannot be seen through the homeserver."""
        connection = await asyncpg.connect(self.dsn, ssl=False)
        try:
            return list(await connection.fetch(sql, *values))
        finally:
            await connection.close()
