"""A worker that a test stops before any statement to the database: for a while, or for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from memtrix_as.config import Config
from memtrix_as.db.pool import Pool
from tests.rig.bench import Bench, lease

PROCESS: "ContextVar[Mortal]" = ContextVar("PROCESS")
LIVELY = 10**9


class Killed(BaseException):
    """The process is no more: what this passes through does nothing further."""


class Mortal:
    """A pool whose process may send `fuel` statements, then stands still, or dies if it `dies`.

    It stands between transactions only, where it holds up nobody; it dies within them too.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.fuel, self.dies, self.dead = 0, False, False
        self.flying = self.standing = 0
        self._changed = asyncio.Event()

    def change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def step(self, within: bool = False) -> None:
        """Right before a statement."""
        if self.fuel <= 0 and self.dies:
            self.dead = True
        while self.fuel <= 0 and not self.dead and not within:
            self.standing += 1
            self.change()
            await self._changed.wait()
            self.standing -= 1
        if self.dead:
            self.change()
            raise Killed
        self.fuel -= 1

    async def rests(self, task: "asyncio.Task[None]") -> None:
        """Until the process stands still, or has done."""
        while not task.done() and not (self.standing and not self.flying):
            changed = asyncio.ensure_future(self._changed.wait())
            await asyncio.wait({task, changed}, return_when="FIRST_COMPLETED", timeout=20)
            changed.cancel()

    async def sends(self, method: Any, *args: Any, within: bool = False) -> Any:
        await self.step(within)
        self.flying += 1
        try:
            return await method(*args)
        finally:
            self.flying -= 1
            self.change()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._pool, name)
        return lambda *args: self.sends(method, *args)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator["_Connection"]:
        async with self._pool.acquire() as connection:
            yield _Connection(self, connection)


class _Connection:
    def __init__(self, mortal: Mortal, connection: Any) -> None:
        self._mortal, self._connection, self._within = mortal, connection, False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._connection, name)
        return lambda *args: self._mortal.sends(method, *args, within=self._within)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        await self._mortal.step()
        self._mortal.flying += 1
        try:
            async with self._connection.transaction():
                self._within = True
                yield
                await self._mortal.step(within=True)  # before the commit
        finally:
            self._within = False
            self._mortal.flying -= 1
            self._mortal.change()


class Worker:
    """One process of several over one database; when it is dead, another takes its place."""

    def __init__(self, pool: Pool, folder: Path, model: Any, tools: Any, settled: Config) -> None:
        self._all = (folder, model, tools, settled)
        self._pool = pool
        self._task: asyncio.Task[None] | None = None
        self._begin()

    def _begin(self) -> None:
        self._mortal = Mortal(self._pool)
        self.bench = Bench(self._mortal, *self._all)

    async def goes(self, fuel: int, dies: bool = False) -> None:
        """Let it send so many statements more; returns when it stands still or has done."""
        if self._mortal.dead:
            self._begin()
        self._mortal.fuel, self._mortal.dies = fuel, dies
        self._mortal.change()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        await self._mortal.rests(self._task)
        if self._task.done() and not isinstance(self._task.exception(), Killed):
            self._task.result()

    async def is_killed(self) -> None:
        self._mortal.dead = True
        self._mortal.change()
        if self._task:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        PROCESS.set(self._mortal)
        while found := await self._mortal.sends(lease, self._pool):
            lane, held = found
            await self.bench.dispatcher.drain(lane, held)
            done = "delete from procrastinate_jobs where id = $1"
            await self._mortal.sends(self._pool.execute, done, held.job_id)
