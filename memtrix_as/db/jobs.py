"""The jobs that wake lanes, as procrastinate's worker is to find them: quickly, and all of them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import psycopg
from procrastinate import PsycopgConnector, exceptions
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from psycopg_pool import AsyncConnectionPool

from memtrix_as.db import workers
from memtrix_as.db.pool import Connection

# What overtakes turns must find a place where turns take all of theirs: it waits in another queue.
CONTROLS = "controls"
TOGETHER = 25  # jobs that are fetched at once, where so many places are free

# The library waits twice as long after each try: minutes, once the database was away for some.
RECONNECT = 1.0  # seconds after which its tries begin anew

# As procrastinate_fetch_job_v2 does it for a single job. A lane has one job that waits at most, so
# that those which may be fetched are never of the same.
FETCH = """
with found as materialized (
    select id from procrastinate_jobs j
    where status = 'todo' and queue_name = any(%(queues)s::varchar[])
      and (scheduled_at is null or scheduled_at <= now())
      and not exists (select from procrastinate_jobs other
                      where other.lock = j.lock and other.status = 'doing')
    order by priority desc, id limit %(most)s for update skip locked)
update procrastinate_jobs j set status = 'doing', worker_id = %(worker_id)s
from found where j.id = found.id
returning j.id, j.status, j.task_name, j.priority, j.lock, j.queueing_lock, j.args,
    j.scheduled_at, j.queue_name, j.attempts, j.worker_id
"""


class Jobs(JobManager):
    """procrastinate's job manager, with three gaps closed, and quicker when much comes at once.

    It looks again when the bell rang during a look, which the worker itself would forget. A
    worker enters the table together with the lock that shows it alive, held by `connection`. And
    a job whose end cannot be noted, since a connection was cut, is ended later.
    While turns have all places that are theirs, it looks for controls only. It fetches several
    jobs at once, and hands them to the worker one after the other: what is fetched and not begun
    when this process ends is taken from it like all else that it was at.
    """

    def __init__(self, connector: Any, stirred: Callable[[], None]) -> None:
        super().__init__(connector)
        self._stirred = stirred
        self._bell = asyncio.Event()
        self._ring: Callable[..., Awaitable[None]] | None = None
        self.connection: Connection = None
        self.worker_id: int | None = None
        self.free = 0  # places for turns
        self._fetched: deque[Job] = deque()
        self._unended: set[int] = set()  # done, but the table does not say so

    @property
    def full(self) -> bool:
        return self.free <= 0

    async def register_worker(self) -> int:
        async with self.connection.transaction():
            worker_id: int = await self.connection.fetchval(
                "insert into procrastinate_workers default values returning id"
            )
            await workers.lock(self.connection, worker_id)
        self.worker_id = worker_id
        self._fetched.clear()  # by the worker before this one
        self._unended.clear()
        return worker_id

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        while not self._fetched:
            self._bell.clear()
            wanted = [CONTROLS] if self.full else queues
            rows = await self.connector.execute_query_all_async(
                FETCH, queues=wanted, worker_id=worker_id, most=max(1, min(self.free, TOGETHER))
            )
            found = map(Job.from_row, rows)
            self._fetched.extend(sorted(found, key=lambda j: (-j.priority, j.id or 0)))
            if not rows and not self._bell.is_set():
                return None
        return self._fetched.popleft()

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """A job that could not be ended would block its lane as long as we live: `end` does it."""
        assert job.id is not None
        try:
            await super().finish_job(job, status, delete_job)
        except exceptions.ConnectorException as exc:
            if not isinstance(exc.__cause__, psycopg.errors.RaiseException):  # taken from us
                self._unended.add(job.id)

    async def end(self) -> None:
        """End those jobs whose end could not be noted at the time."""
        if ended := [*self._unended]:
            await self.connection.execute(
                "delete from procrastinate_jobs where id = any($1) and worker_id = $2",
                ended, self.worker_id,
            )  # fmt: skip
            self._unended.difference_update(ended)

    async def listen_for_jobs(self, *, on_notification: Any, queues: Any = None) -> None:
        async def ring(**notification: Any) -> None:
            self._bell.set()
            self._stirred()
            await on_notification(**notification)

        self._ring = ring
        # All bells: BELL and the trigger of a lane that is free again name no queue.
        await super().listen_for_jobs(on_notification=ring, queues=None)

    async def look(self) -> None:
        """Have the worker look for jobs once more."""
        if self._ring:
            await self._ring(channel="", notification={"type": "job_inserted", "job_id": 0})


def connector(dsn: str) -> PsycopgConnector:
    """procrastinate's way to the database, with connections of its own."""
    return PsycopgConnector(
        conninfo=dsn,
        min_size=1,
        max_size=4,
        pool_factory=_pool_without_checks,
        configure=_configure,
        reconnect_timeout=RECONNECT,
        reconnect_failed=_reconnect,
    )


async def _configure(connection: psycopg.AsyncConnection[Any]) -> None:
    # Each of its statements stands for itself. A job is only a bell: one that a crash of the
    # database forgets is rung again from inbox and outbox, so it need not wait for the disk.
    await connection.set_autocommit(True)
    await connection.execute("set synchronous_commit = off")


async def _reconnect(pool: AsyncConnectionPool) -> None:
    await pool.check()


def _pool_without_checks(**options: Any) -> AsyncConnectionPool:
    # The check is one more round trip at every use; a dead connection shows soon enough.
    return AsyncConnectionPool(**{**options, "check": None})
