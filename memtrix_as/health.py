"""The second, private port: whether the service lives, whether it is ready, and its figures."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import TypeVar

from aiohttp import web

from memtrix_as.config import Metrics
from memtrix_as.db import overview
from memtrix_as.db.pool import FAILURES, Pool
from memtrix_as.errors import ConfigError
from memtrix_as.measures import CONTENT_TYPE, Counting, Measures

T = TypeVar("T")

PATIENCE = 3.0  # seconds that the database may take


class Health:
    """Listens while the service runs; `state` names what it needs to be ready, and has it."""

    def __init__(
        self,
        config: Metrics,
        pool: Pool,
        measures: Measures,
        state: Callable[[], Mapping[str, bool]],
    ) -> None:
        self._config, self._pool, self._measures, self._state = config, pool, measures, state
        self._counting = Counting(measures)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Does nothing where no port is configured; ConfigError if it cannot be had."""
        host, port = self._config.hostname, self._config.port
        if port is None:
            return
        app = web.Application()
        app.router.add_get("/healthz", self._lives)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._figures)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as exc:
            await self.stop()
            raise ConfigError(
                f"metrics.port: cannot listen on {host}:{port} ({exc.strerror or exc}); change "
                "it, or take the line out"
            ) from exc
        logging.getLogger().addHandler(self._counting)

    async def stop(self) -> None:
        logging.getLogger().removeHandler(self._counting)
        if self._runner:
            await self._runner.cleanup()

    async def _lives(self, _: web.Request) -> web.Response:
        """That this answers shows that the loop turns; the database is asked."""
        alive = await self._asked(self._pool.fetchval("select 1")) is not None
        return web.json_response({"database": alive}, status=200 if alive else 503)

    async def _ready(self, _: web.Request) -> web.Response:
        state = dict(self._state())
        return web.json_response(state, status=200 if all(state.values()) else 503)

    async def _figures(self, _: web.Request) -> web.Response:
        backlog = await self._asked(overview.backlog(self._pool))
        self._measures.waiting(None if backlog is None else asdict(backlog))
        return web.Response(body=self._measures.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _asked(self, query: Awaitable[T]) -> T | None:
        try:
            async with asyncio.timeout(PATIENCE):
                return await query
        except FAILURES:
            return None
