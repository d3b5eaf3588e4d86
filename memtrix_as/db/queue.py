"""The engine that wakes lanes: procrastinate's jobs, one waking job per lane at most."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import asyncpg
import psycopg
from procrastinate import App, JobContext, exceptions
from procrastinate.worker import Worker

from memtrix_as.db import jobs, workers
from memtrix_as.db.jobs import CONTROLS, Jobs
from memtrix_as.db.pool import DOWN, Connection, Pool
from memtrix_as.messages import AT_TERMINAL

log = logging.getLogger(__name__)

# A lane of a terminal is drained by the process of that terminal alone: what is said there can be
# shown nowhere else. So its jobs wait in a queue that is called as its room; a name must be short,
# since it becomes a part of a channel's.
SERVICE = "lanes"
QUEUE = f"""coalesce(substring(lane from '^[^ ]* ({AT_TERMINAL}[0-9a-f]{{16}})$'),
    case when left(lane, 1) in ('!', '#', '*') then '{CONTROLS}' else '{SERVICE}' end)"""
CONTROLLING = 50  # places that only controls get

HEARTBEAT = 1.0  # seconds
STALLED = 6.0  # seconds without a heartbeat after which a worker counts as dead
GUARD = 1.5  # seconds between two looks for dead workers; a lost connection shows at once
SURE = 4.0  # seconds after a look for which what we hold is ours: less than others take for death

REST = 4  # seconds that work gets to end when we stop


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on a lane: a job that must still be ours when the work is committed."""

    job_id: int
    worker_id: int


Drain = Callable[[str, Lease, Callable[[], bool]], Awaitable[None]]
"""Works on a lane; what it is given last says whether others wait for its place."""


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
        self._app = App(connector=jobs.connector(dsn))
        self._jobs = self._app.job_manager = Jobs(self._app.connector, stirred)
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
        self._sure_until = 0.0  # on the loop's clock
        self._away = False  # the database
        self.runs = False  # it takes work now

    @property
    def sure(self) -> bool:
        """Whether what we work on is still ours, as far as one can know without asking.

        Nobody who has taken it from us shows anything before this is False.
        """
        return (
            self.runs
            and workers.stands(self._jobs.connection)
            and asyncio.get_running_loop().time() < self._sure_until
        )

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
                    self._jobs.worker_id = None
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
                if not await self._recover():
                    log.warning("Others took this process for dead and go on with its work")
                    self._worker.stop()  # type: ignore[no-untyped-call]
                    return
            except (*DOWN, asyncpg.PostgresError) as exc:
                self._pauses(exc)
                self._worker.stop()  # type: ignore[no-untyped-call]
                return

    def _pauses(self, exc: BaseException) -> None:
        if not self._away:  # said once for each time that it is away
            log.warning("The database is away, work pauses: %s", exc)
        self._away = True

    async def _recover(self) -> bool:
        """Look for dead workers; False when we are among them."""
        asked = asyncio.get_running_loop().time()
        await self._jobs.end()
        dead, known = await recover(self._jobs.connection, self._jobs.worker_id)
        if dead:
            log.info("Another process is gone; its work goes on here")
            self._inherit()
        ours = known or self._jobs.worker_id is None
        self._sure_until = asked + SURE if ours else 0.0
        return ours

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


def held(job: str, worker: str, lock: str = "for share") -> str:
    """SQL that says whether a lease still holds; whatever a worker commits must ask for it."""
    return f"""exists (select from procrastinate_jobs where id = {job} and worker_id = {worker}
        and status = 'doing' and not abort_requested {lock})"""


# A job that waits already is held until our commit (by the update of what it has anyway), so that
# it cannot be fetched before what it is to find; the bell then rings for it once more.
BELL = """pg_notify('procrastinate_any_queue_v1', '{"type": "job_inserted", "job_id": 0}')"""


async def recover(db: Connection | Pool, own: int | None = None) -> tuple[int, bool]:
    """Take the lanes of dead workers from them, and wake every lane that has work waiting.

    A worker is dead when nobody holds its lock (its connection is gone) or its heartbeat stopped;
    who asks, as worker `own`, is not. What a dead one still may do afterwards is refused by the
    lease that it no longer has. What it was at may have brought it to a standstill: those attempts
    count, whatever it says of them when it goes on. Returns how many were dead, and whether `own`
    is among the workers, as it is until another has taken it for dead.
    """
    dead, known = await db.fetchrow(
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
            from blamed where blamed.id = i.id),
        buried as (
            delete from procrastinate_workers where id in (select id from dead) returning id)
        select (select count(*) from buried), exists (select from workers where id = $3)
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
    return dead, known


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
