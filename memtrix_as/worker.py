"""A further process that works on the database of a service, and takes no transactions."""

import logging
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from memtrix_as import database
from memtrix_as.config import Config
from memtrix_as.db import agents
from memtrix_as.db.pool import check, connect
from memtrix_as.engine import Engine
from memtrix_as.errors import DatabaseError

log = logging.getLogger(__name__)

SERVICE_FIRST = (
    "There is no service on this database yet: start it first, without --worker, so that it makes "
    "the database ready."
)


class Worker:
    """From `start` to `stop`. What is true of the whole installation is the service's to do."""

    def __init__(self, config: Config, path: Path, metrics_port: int | None = None) -> None:
        # The port that the configuration names is the service's.
        self._config = replace(config, metrics=replace(config.metrics, port=metrics_port))
        self._path = path
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Take work. Raises DatabaseError or ConfigError."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        dsn = await self._database()
        pool = await connect(dsn)
        self._stack.push_async_callback(pool.close)
        await check(pool)
        if not await agents.load(pool):
            raise DatabaseError(SERVICE_FIRST)
        engine = Engine(self._config, self._path, self._stack)
        # Two that give the same passages their vectors do the same work twice.
        await engine.build(dsn, pool, embeds=False)
        await engine.watched(dict)
        await engine.start()
        log.info("Working for the service on this database")

    async def _database(self) -> str:
        if self._config.appservice.database != "embedded":
            return self._config.appservice.database
        dsn = await database.running(self._config)
        if dsn is None:
            raise DatabaseError(SERVICE_FIRST)
        return dsn

    async def stop(self) -> None:
        """Let turns come to a rest, and close everything; what is not done others go on with."""
        await self._stack.aclose()
