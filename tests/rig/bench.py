"""Turns without a homeserver and without a model's server: rows in, rows out, workers by hand."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from memtrix_as import config
from memtrix_as.agent import approvals, commands, corrections, turn
from memtrix_as.agent.dispatcher import Dispatcher
from memtrix_as.agent.means import Account, Means
from memtrix_as.config import Config
from memtrix_as.db import inbox, outbox, queue
from memtrix_as.db.inbox import Arrival
from memtrix_as.db.pool import Pool
from memtrix_as.db.queue import Lease
from memtrix_as.engine import services_of
from memtrix_as.matrix import intake
from memtrix_as.matrix.intake import World
from memtrix_as.measures import Measures
from memtrix_as.memory.keeper import Keeper
from memtrix_as.memory.persona import Persona
from memtrix_as.messages import Delta, Message, Place, Reply, ToolCall, ToolSpec
from memtrix_as.tool import Tool
from tests.rig.settings import settings, tokens, write

ROOM, MAIN, ANN = "!room", "@memtrix:hs.test", "@ann:hs.test"
LANE = inbox.turns("memtrix", ROOM)
CONTROLS = inbox.controls(ROOM, "memtrix")
WORLD = World({MAIN: "memtrix"}, {"memtrix": "Memtrix"}, "memtrix", {"hs.test": "user"}, ())


class Room:
    """A channel that takes everything at once: what is sent gets an event id of its row."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.sent: list[outbox.Row] = []
        self._lock = asyncio.Lock()

    def stream(self, turn_id: int, place: Place, event_id: str, reply_to: str | None) -> "Room":
        return self

    def feed(self, text: str) -> None: ...

    async def finish(self) -> None: ...

    async def quote(self, place: Place, event_id: str) -> str | None:
        return None

    async def download(self, place: Place, source: str) -> AsyncGenerator[bytes, None]:
        yield b""

    def post(self, lane: str) -> None: ...

    async def deliver(self, lane: str) -> None:
        async with self._lock:
            for row in await outbox.waiting(self._pool, lane):
                await outbox.sent(self._pool, row.id, [f"$out{row.id}"])
                self.sent.append(row)


class Model:
    """Calls what it is told to, once, and then has done."""

    context, tools, vision, scarce = 8192, True, False, False

    def __init__(self, calls: Sequence[ToolCall]) -> None:
        self.calls = tuple(calls)

    def get(self, name: str, account: Account) -> "Model":
        return self

    async def settle(self, patience: float) -> None:
        """Nothing is noted."""

    async def stream(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, timeout: float
    ) -> AsyncIterator[Delta | Reply]:
        await asyncio.sleep(0)
        if messages[-1].role == "user":
            yield Reply(Message("assistant", calls=self.calls))
        else:
            yield Reply(Message("assistant", "Done."))


def settle(folder: Path, **permissions: str) -> Config:
    """A configuration; keyword names cannot hold user ids, so use `settle(folder, **{...})`."""
    values = settings(tokens("memtrix"), "http://127.0.0.1:9", 1, "postgresql://localhost/x")
    values["permissions"] |= permissions
    return config.load(write(folder / "config.yaml", values))


async def open_room(pool: Pool) -> None:
    """The room and who is in it."""
    await pool.execute("insert into rooms (room_id, synced) values ($1, true)", ROOM)
    await pool.executemany("insert into members values ($1, $2, null)", [(ROOM, MAIN), (ROOM, ANN)])


async def lease(pool: Pool) -> tuple[str, Lease] | None:
    """The next lane that waits for a worker, as a worker of its own gets it."""
    async with pool.acquire() as connection, connection.transaction():
        worker = await connection.fetchval(
            "insert into procrastinate_workers default values returning id"
        )
        job = await connection.fetchrow(
            "select id, lock from procrastinate_fetch_job_v2(null, $1)", worker
        )
    return (job["lock"], Lease(job["id"], worker)) if job["id"] is not None else None


class Bench:
    """One installation on a database, of which a test is homeserver, human and scheduler."""

    def __init__(
        self,
        pool: Pool,
        folder: Path,
        model: Model,
        tools: Mapping[str, Tool],
        settled: Config | None = None,
    ) -> None:
        self.pool, self.room, self._events = pool, Room(pool), 0
        settled = settled or settle(folder)
        read = lambda event, agent: intake.incoming(event, agent, WORLD)  # noqa: E731
        services = services_of(
            pool, settled, Keeper(pool, "", settled), Persona(pool, settled), Measures()
        )
        self.means = Means(pool, self.room, model, tools, settled, read, services)
        self.expiry = approvals.Expiry(self.means)
        handlers = {
            "message": partial(turn.answer, self.means),
            "command": partial(commands.run, self.means),
            "approval": partial(approvals.answer, self.means),
            "edit": partial(corrections.edit, self.means),
            "redaction": partial(corrections.withdraw, self.means),
        }
        self.dispatcher = Dispatcher(pool, self.room, handlers, 5)

    async def open(self) -> None:
        await open_room(self.pool)

    async def arrives(self, kind: str, lane: str, content: Mapping[str, Any], **more: Any) -> str:
        """An event of the human; returns its id."""
        self._events += 1
        event_id = f"$in{self._events}"
        raw = {"event_id": event_id, "room_id": ROOM, "type": "m.room.message", "sender": ANN}
        payload = {**raw, "content": dict(content), **more}
        agent = "memtrix" if lane in (LANE, CONTROLS) else ""
        await inbox.put(self.pool, [Arrival(lane, kind, ROOM, agent, event_id, payload)])
        return event_id

    async def says(self, text: str) -> str:
        """A message, or a command that overtakes."""
        command = text.startswith("/")
        where = ("command", CONTROLS) if command else ("message", LANE)
        return await self.arrives(*where, {"msgtype": "m.text", "body": text})

    async def answers(self, approval: int, word: str, who: str = ANN) -> None:
        more = {"answer": word, "approval": approval, "sender": who}
        await self.arrives("approval", CONTROLS, {}, **more)

    async def work(self) -> int:
        """Drain every lane that waits; how many there were."""
        count = 0
        while found := await lease(self.pool):
            lane, held = found
            await self.dispatcher.drain(lane, held)
            await self.pool.execute("delete from procrastinate_jobs where id = $1", held.job_id)
            count += 1
        return count

    async def workers_die(self) -> None:
        """Whatever is being done is another worker's from now on, and done again."""
        await queue.recover(self.pool)

    async def time_passes(self) -> None:
        """All open questions become overdue, and are looked at."""
        await self.pool.execute("update approvals set expires_at = now() where state = 'open'")
        await self.expiry.look()

    async def open_questions(self) -> list[int]:
        rows = await self.pool.fetch("select id from approvals where state = 'open' order by id")
        return [row["id"] for row in rows]
