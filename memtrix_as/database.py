"""The database that a configuration means: one that is reached, or one that we run."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from memtrix_as.config import Config, child_environment, redact
from memtrix_as.errors import DatabaseError
from memtrix_as.local.postgres import DATABASE, EmbeddedPostgres

log = logging.getLogger(__name__)

ROOT = Path(__file__).parents[1]


@asynccontextmanager
async def opened(config: Config, say: Callable[[str], None] = log.info) -> AsyncIterator[str]:
    """The address of the database, for as long as it is needed.

    `database: embedded` starts PostgreSQL in the data folder, or joins the one that runs there.
    """
    if config.appservice.database != "embedded":
        yield config.appservice.database
        return
    folder = config.data_directory / "postgres"
    if found := await running(config):
        redact.learn(found)
        yield found
        return
    async with EmbeddedPostgres(folder, say=say) as server:
        redact.learn(server.dsn)
        yield server.dsn


async def running(config: Config) -> str | None:
    """The address of the embedded database, if another process runs it already."""
    folder = config.data_directory / "postgres"
    # Line 4 of postmaster.pid is the port (PostgreSQL, "Database File Layout").
    try:
        port = int((folder / "cluster" / "postmaster.pid").read_text().splitlines()[3])
        password = (folder / "password").read_text().strip()
    except (OSError, ValueError, IndexError):
        return None
    dsn = f"postgresql://postgres:{password}@127.0.0.1:{port}/{DATABASE}"
    try:
        await (await asyncpg.connect(dsn, timeout=5)).close()
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return None
    return dsn


async def migrate(dsn: str, version: str = "head", *, down: bool = False) -> None:
    """`alembic upgrade head` in a process of its own: its libraries are not needed afterwards.

    `down` goes back to an older version, and loses what that has no place for.
    """
    step = "downgrade" if down else "upgrade"
    command = [sys.executable, "-m", "alembic", "-x", "database=stdin", step, version]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=child_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate(dsn.encode() + b"\n")
    if process.returncode:
        last = output.decode(errors="replace").strip().splitlines()[-5:]
        raise DatabaseError("The database could not be migrated:\n" + "\n".join(last))
