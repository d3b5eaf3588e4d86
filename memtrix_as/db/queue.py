"""The engine that wakes lanes: procrastinate's jobs, one waking job per lane at most."""

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
import psycopg
from procrastinate import App, JobContext, PsycopgConnector, exceptions
from procrastinate.jobs import Job
from procrastinate.manager import JobManager
from procrastinate.worker import Worker
from psycopg_pool import AsyncConnectionPool

from memtrix_as.db import workers
from memtrix_as.db.pool import DOWN, Connection, Pool
from memtrix_as.messages import AT_TERMINAL

log = logging.getLogger(__name__)

# A lane of a terminal is drained by the process of that terminal alone: what is said there can be
# shown nowhere else. So its jobs wait in a queue that is called as its room; a name must be short,
# since it becomes a part of a channel's.
SERVICE = "lanes"
# What overtakes turns must find a place where turns take all of theirs: it waits in another.
CONTROLS = "controls"
QUEUE = f"""coalesce(substring(lane from '^[^ ]* ({AT_TERMINAL}[0-9a-f]{{16}})$'),
    case when left(lane, 1) in ('!', '#', '*') then '{CONTROLS}' else '{SERVICE}' end)"""
CONTROLLING = 50  # places that only controls get
TOGETHER = 25  # jobs that are fetched at once, where so many places are free

HEARTBEAT = 1.0  # seconds
STALLED = 6.0  # seconds without a heartbeat after which a worker counts as dead
GUARD = 1.5  # seconds between two looks for dead workers; a lost connection shows at once

REST = 4  # seconds that work gets to end when we stop

# The library waits twice as long after each try: minutes, once the database was away for some.
RECONNECT = 1.0  # seconds after which its tries begin anew


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a lane: a job that must still be ours when the work is committed."""

    job_id: int
    worker_id: int


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


Drain = Callable[[str, Lease, Callable[[], bool]], Awaitable[None]]
"""Works on a lane; what it is given last says whether others wait for its place."""


class _Jobs(JobManager):
    """procrastinate's job manager, with two gaps closed, and quicker when much comes at once.

    It looks again when the bell rang during a look, which the worker itself would forget. And a
    worker enters the table together with the lock that shows it alive, held by `connection`.
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


class Queue:
    """Runs `drain` for each lane of the queue that is woken: so many turns at once, no more."""

    def __init__(
        self, dsn: str, pool: Pool, drain: Drain, concurrency: int, queue: str = SERVICE,
        inherit: Callable[[], None] = lambda: None, stirred: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """`inherit` is called when another process has died: what it did beside turns is left.

        `stirred` is called when work was put in line, by whomever, or upkeep may look again.
        """
        self._pool = pool
        self._inherit = inherit
        self._drain = drain
        self._app = App(
            connector=PsycopgConnector(
                conninfo=dsn,
                min_size=1,
                max_size=4,
                pool_factory=_pool_without_checks,
                configure=_configure,
                reconnect_timeout=RECONNECT,
                reconnect_failed=_reconnect,
            )
        )
        self._jobs = self._app.job_manager = _Jobs(self._app.connector, stirred)
        self._jobs.free = concurrency
        self._app.task(name="drain", pass_context=True)(self._run)
        self._worker = Worker(
            self._app,
            name="lanes",
            queues=[queue, CONTROLS] if queue == SERVICE else [queue],
            concurrency=concurrency + (CONTROLLING if queue == SERVICE else 0),
            delete_jobs="always",
            install_signal_handlers=False,
            update_heartbeat_interval=HEARTBEAT,
            stalled_worker_timeout=STALLED,
            shutdown_graceful_timeout=2.0,
        )
        self._running: asyncio.Task[None] | None = None
        self._stopping = False
        self._begun = asyncio.Event()
        self._away = False  # the database
        self.runs = False  # it takes work now

    async def start(self) -> None:
        """It takes work when this returns, if the database is still there."""
        await self._app.open_async()
        self._running = asyncio.create_task(self._run_workers(), name="queue")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._begun.wait(), STALLED)

    async def stop(self) -> None:
        """Stop taking work; turns that do not end within two seconds go on after a restart."""
        self._stopping = True
        if self._running:
            self._running.cancel()
            for second in itertools.count():
                await asyncio.wait({self._running}, timeout=1)
                if self._running.done():
                    break
                # A cancellation gets lost in libraries when the database goes away right then.
                self._worker.stop()  # type: ignore[no-untyped-call]
                if second == REST:  # whoever still waits for the database need not
                    await self._app.close_async()
        await self._app.close_async()

    async def _run_workers(self) -> None:
        """Run the worker, and again when the database was away."""
        while not self._stopping:
            try:
                async with self._pool.acquire() as self._jobs.connection:
                    await self._recover()
                    if self._away:
                        self._away = False
                        log.info("The database is back, work goes on")
                    guard = asyncio.create_task(self._guard(), name="guard")
                    self.runs = True
                    self._begun.set()
                    try:
                        await self._worker.run()  # type: ignore[no-untyped-call]
                    finally:
                        self.runs = False
                        guard.cancel()
                        await asyncio.gather(guard, return_exceptions=True)
                        await workers.unlock(self._jobs.connection)
            except (*DOWN, exceptions.ConnectorException, psycopg.OperationalError) as exc:
                self._pauses(exc)
            except Exception:  # one background job: were it to end, nothing would be handled
                log.exception("The queue failed and begins anew")
            await asyncio.sleep(1)

    async def _guard(self) -> None:
        """Pass on the lanes of dead workers; without our own lock we must not go on."""
        while True:
            await asyncio.sleep(GUARD)
            try:
                await self._recover()
            except (*DOWN, asyncpg.PostgresError) as exc:
                self._pauses(exc)
                self._worker.stop()  # type: ignore[no-untyped-call]
                return

    def _pauses(self, exc: BaseException) -> None:
        if not self._away:  # said once for each time that it is away
            log.warning("The database is away, work pauses: %s", exc)
        self._away = True

    async def _recover(self) -> None:
        if await recover(self._jobs.connection, self._jobs.worker_id):
            log.info("Another process is gone; its work goes on here")
            self._inherit()

    async def _run(self, context: JobContext, lane: str) -> None:
        assert context.job.id is not None and context.job.worker_id is not None
        lease = Lease(context.job.id, context.job.worker_id)
        if context.job.queue == CONTROLS:
            return await self._drain(lane, lease, lambda: False)
        self._take(1)
        try:
            await self._drain(lane, lease, lambda: self._jobs.full)
        finally:
            if self._take(-1):
                await self._jobs.look()

    def _take(self, places: int) -> bool:
        """Take places, or give them back; whether that made room where there was none."""
        was = self._jobs.full
        self._jobs.free -= places
        return was and not self._jobs.full


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


def held(job: str, worker: str, lock: str = "for share") -> str:
    """SQL that says whether a lease still holds; whatever a worker commits must ask for it."""
    return f"""exists (select from procrastinate_jobs where id = {job} and worker_id = {worker}
        and status = 'doing' and not abort_requested {lock})"""


# A job that waits already is held until our commit (by the update of what it has anyway), so that
# it cannot be fetched before what it is to find; the bell then rings for it once more.
BELL = """pg_notify('procrastinate_any_queue_v1', '{"type": "job_inserted", "job_id": 0}')"""


async def recover(db: Connection | Pool, own: int | None = None) -> int:
    """Take the lanes of dead workers from them, and wake every lane that has work waiting.

    A worker is dead when nobody holds its lock (its connection is gone) or its heartbeat stopped;
    who asks, as worker `own`, is not. What a dead one still may do afterwards is refused by the
    lease that it no longer has. What it was at may have brought it to a standstill: those attempts
    count, whatever it says of them when it goes on. Returns how many were dead.
    """
    dead = await db.fetch(
        """
        with workers as (
            select id, last_heartbeat, exists (
                select from pg_locks
                where locktype = 'advisory' and classid = $1::oid and objid = w.id::oid
                  and database = (select oid from pg_database
                                  where datname = current_database())) as connected
            from procrastinate_workers w),
        dead as (
            select id, connected from workers
            where not connected or (last_heartbeat < now() - make_interval(secs => $2)
                                    and id is distinct from $3)),
        taken as (
            delete from procrastinate_jobs
            where status = 'doing' and (worker_id is null or worker_id in (select id from dead))
            returning id, lock, worker_id),
        blamed as (
            select i.id, taken.id as job
            from taken join dead on dead.id = worker_id and connected
                join inbox i on i.lane = taken.lock and done_at is null
                    and taken.id = any(attempts)
            for update of i skip locked),
        counted as (
            update inbox i set attempts = array_replace(attempts, job, -job)
            from blamed where blamed.id = i.id)
        delete from procrastinate_workers where id in (select id from dead) returning id
        """,
        workers.LOCKS,
        STALLED,
        own,
    )
    await db.execute(
        f"""
        insert into procrastinate_jobs (queue_name, task_name, lock, queueing_lock, args)
        select {QUEUE}, 'drain', lane, lane, jsonb_build_object('lane', lane)
        from (select lane from inbox i where done_at is null and case
                  when left(lane, 1) = '~' then not exists (
                      select from turns where turns.id = i.id and state = 'parked')
                  else lane not in (
                      select lane from turns join inbox using (id) where state = 'parked') end
              union select lane from outbox where sent_at is null and failed is null) as waiting
        where not exists (select from procrastinate_jobs j
                          where j.lock = waiting.lane and j.status in ('todo', 'doing'))
        on conflict (queueing_lock) where status = 'todo' do nothing
        """
    )
    return len(dead)


async def abort(connection: Connection, lane: str) -> None:
    """Cut what is being done in the lane, and wake it again for what waits behind."""
    await connection.execute(
        """
        select procrastinate_cancel_job_v1(id, true, false) from procrastinate_jobs
        where lock = $1 and status = 'doing'
        """,
        lane,
    )
    await wake(connection, lane)


def waking(lanes: str) -> str:
    """SQL that sees that the lanes in a table or query are drained (once more)."""
    return f"""
        insert into procrastinate_jobs (queue_name, task_name, lock, queueing_lock, args)
        select {QUEUE}, 'drain', lane, lane, jsonb_build_object('lane', lane)
        from (select distinct lane from {lanes}) as woken order by lane
        on conflict (queueing_lock) where status = 'todo' do update set args = excluded.args"""


async def wake(db: Connection | Pool, lane: str) -> None:
    """See that the lane is drained (once more)."""
    await db.execute(waking("(select $1::text as lane) as one"), lane)
    await db.execute(f"select {BELL}")
