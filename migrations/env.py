"""Where alembic finds the database: the configuration named by MEMTRIX_CONFIG."""

import asyncio
import sys
from pathlib import Path

from alembic import context
from sqlalchemy import create_engine, pool

from memtrix_as import config, database


async def main() -> None:
    # The service hands over the address itself: on its way it is in no command line.
    if context.get_x_argument(as_dictionary=True).get("database") == "stdin":
        await asyncio.to_thread(migrate, sys.stdin.readline().strip())
        return
    path = Path(config.environment("MEMTRIX_CONFIG") or "config.yaml")
    async with database.opened(config.load(path), say=print) as dsn:
        await asyncio.to_thread(migrate, dsn)


def migrate(dsn: str) -> None:
    url = dsn.replace("postgresql://", "postgresql+psycopg://", 1)
    with create_engine(url, poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()


asyncio.run(main())
