"""The database: whether it answers, what it is, and whether its tables are this version's."""

import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

from memtrix_as import database
from memtrix_as.config import Config
from memtrix_as.db import overview
from memtrix_as.db.pool import Pool, connect, tables
from memtrix_as.doctor.check import Ailing, Check
from memtrix_as.errors import DatabaseError, LocalPartError
from memtrix_as.local.postgres import wheel_binaries

OLDEST = 14  # PostgreSQL
VECTOR = (0, 8, 2)  # pgvector: before it, an index search with a condition finds too little
START = (
    "start PostgreSQL, or correct the address in appservice.database: "
    "postgresql://user:password@host:5432/name"
)
PASSWORD = (
    "correct the password in appservice.database (postgresql://user:password@host:5432/name), or "
    "give that user this one: alter role … password '…'"
)
INSTALL = "pip install 'memtrix-as[embedded]', or set appservice.database to postgresql://…"


class Database:
    """The database of a configuration, opened by the first check for those behind it."""

    def __init__(self, config: Config, path: Path, stack: AsyncExitStack) -> None:
        self._config, self._path, self._stack = config, path, stack
        self._embedded = config.appservice.database == "embedded"
        self.pool: Pool = None

    def checks(self) -> Iterator[Check]:
        yield Check("database", self._reached, patience=15, fix=START)
        yield Check("pgvector", self._extension, ("database",))
        yield Check("migrations", self._migrated, ("database", "pgvector"))

    async def _reached(self) -> str:
        if self._embedded:
            self._there()
        try:
            dsn = await self._stack.enter_async_context(database.opened(self._config))
            self.pool = await connect(dsn, 4)
        except LocalPartError as exc:
            raise Ailing(str(exc), "do what it says; its log is in data_directory") from exc
        except DatabaseError as exc:
            raise Ailing(str(exc), PASSWORD if "password" in str(exc) else START) from exc
        self._stack.push_async_callback(self.pool.close)
        postgres, _ = await overview.parts(self.pool)
        if int(re.match(r"\d+", postgres)[0]) < OLDEST:  # type: ignore[index]
            raise Ailing(f"PostgreSQL {postgres} is too old", f"update it to {OLDEST} or newer")
        return f"PostgreSQL {postgres}" + ", embedded" * self._embedded

    def _there(self) -> None:
        """Looking must not make a database: that is for the first start."""
        try:
            wheel_binaries()
        except LocalPartError as exc:
            raise Ailing(str(exc), INSTALL) from exc
        folder = self._config.data_directory / "postgres"
        if not (folder / "cluster" / "PG_VERSION").exists():
            raise Ailing(
                f"none in {folder} yet: the first start makes it",
                f"memtrix-as -c {self._path}", "skipped",
            )  # fmt: skip

    async def _extension(self) -> str:
        _, vector = await overview.parts(self.pool)
        if vector is None:
            raise Ailing(
                "the database has no pgvector",
                "install pgvector for this PostgreSQL, then, as a superuser in this database: "
                "create extension vector",
            )
        if tuple(int(part) for part in vector.split(".")[:3]) < VECTOR:
            raise Ailing(
                f"pgvector {vector} is older than {'.'.join(map(str, VECTOR))}",
                "update pgvector, then in this database: alter extension vector update", "warn",
            )  # fmt: skip
        return f"pgvector {vector}"

    async def _migrated(self) -> str:
        found, wanted = await tables(self.pool)
        if found == wanted:
            return f"at {wanted}, the newest"
        state = f"at {found}" if found else "without our tables"
        if found and found > wanted:
            raise Ailing(f"the database is {state}, made by a newer version; this one is of "
                         f"{wanted}", "install the newer version again")  # fmt: skip
        if self._embedded:
            raise Ailing(f"the database is {state}, this version needs {wanted}",
                         f"memtrix-as -c {self._path} (the start migrates it)", "warn")  # fmt: skip
        raise Ailing(f"the database is {state}, this version needs {wanted}",
                     f"MEMTRIX_CONFIG={self._path} alembic upgrade head")  # fmt: skip
