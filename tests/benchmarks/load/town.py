"""The parts of a load: the database, a homeserver, the model; and the service with its workers."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from memtrix_as import database
from memtrix_as.local.child import Child, spawn
from memtrix_as.local.folder import tail
from memtrix_as.local.ports import free_port
from memtrix_as.local.postgres import EmbeddedPostgres
from tests.benchmarks.load.model import EchoModel
from tests.benchmarks.parts import AGENT, CONTEXT, ROOT, SYNAPSE, Human, connection
from tests.rig.api import Json
from tests.rig.fakeserver import FakeHomeserver
from tests.rig.homeserver import Homeserver
from tests.rig.settings import DOMAIN, MODEL, register, settings, write

HUMAN = f"@human:{DOMAIN}"
STARTING = 60.0  # seconds


class Side(Protocol):
    """Where humans are: rooms to speak in, and what is answered there."""

    address: str
    taken: dict[str, float]  # what was said -> when the service had taken it, where that is seen

    async def room_with(self, user: str) -> str: ...

    async def say(self, room: str, text: str) -> None: ...

    async def answered(self, text: str) -> float:
        """When it was answered, on the monotonic clock."""


class FakeSide(FakeHomeserver):
    """Humans at the fake homeserver; what they say costs nothing there either."""

    def __init__(self, registration: Json, service: str) -> None:
        super().__init__(registration, DOMAIN)
        self.service = service
        self.taken: dict[str, float] = {}
        self._waiting: dict[str, asyncio.Future[float]] = {}
        self.heard.append(self._hear)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def room_with(self, user: str) -> str:
        room = self.make_room(HUMAN, user)
        async with asyncio.timeout(STARTING):
            while user not in self.rooms[room].joined():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return room

    async def say(self, room: str, text: str) -> None:
        self._waiting[f"You said: {text}"] = asyncio.get_running_loop().create_future()
        super().say(room, HUMAN, text)

    async def answered(self, text: str) -> float:
        return await self._waiting[f"You said: {text}"]

    def _hear(self, _: str, event: Json) -> None:
        content = event["content"]
        said = content.get("m.new_content", content).get("body", "")
        waiting = self._waiting.get(said)
        if waiting and not waiting.done() and "io.memtrix.draft" not in content:
            waiting.set_result(time.monotonic())

    async def _put(self, txn: int, batch: list[Json]) -> bool:
        done = await super()._put(txn, batch)
        now = time.monotonic()
        self.taken |= {e["content"]["body"]: now for e in batch
                       if done and e["sender"] == HUMAN and "body" in e["content"]}  # fmt: skip
        return done


class RealSide:
    """A human at Synapse, who reads along by one /sync."""

    def __init__(self, address: str, human: Human) -> None:
        self.address, self._human = address, human
        self.taken: dict[str, float] = {}

    async def room_with(self, user: str) -> str:
        return await self._human.room_with(user)

    async def say(self, room: str, text: str) -> None:
        await self._human.send(room, text)

    async def answered(self, text: str) -> float:
        return await self._human.sees(f"You said: {text}", timeout=600)


@dataclass
class Process:
    """A process that is measured."""

    name: str
    child: Child
    watched: str  # where its figures are

    @property
    def rss(self) -> float:
        """Resident memory in MB."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    @property
    def cpu(self) -> float:
        """Seconds on a processor, all threads."""
        return cpu_of(self.child.pid)


def cpu_of(pid: int, reaped: bool = False) -> float:
    """Seconds that a process has run, with those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if reaped else 13])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Town:
    """Everything but the service."""

    folder: Path
    registration: Json
    port: int  # where the homeserver believes that the service listens
    dsn: str
    model: EchoModel
    side: Any
    http: aiohttp.ClientSession
    postmaster: int
    synapse: Homeserver | None = None
    processes: list[Process] = field(default_factory=list)

    @property
    def homeserver(self) -> Any:
        return self.synapse or self.side

    @property
    def agent(self) -> str:
        return f"@{AGENT}:{DOMAIN}"

    def database_cpu(self) -> float:
        return cpu_of(self.postmaster, reaped=True) + sum(map(cpu_of, _children(self.postmaster)))


def _children(pid: int) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                yield int(path.name)
        except (OSError, ValueError):
            continue  # it has ended meanwhile


@asynccontextmanager
async def town(folder: Path, real: bool, latency: float, pieces: int) -> AsyncIterator[Town]:
    """Start them, with the durability that users have."""
    port = free_port()
    registration = register(AGENT, f"http://127.0.0.1:{port}", folder)
    model = EchoModel(latency, pieces)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(EmbeddedPostgres(folder / "postgres"))
        await _with_statistics(server)
        await database.migrate(server.dsn)
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )
        await model.start()
        stack.push_async_callback(model.stop)
        side: Side
        synapse = None
        if real:
            synapse = Homeserver(folder, SYNAPSE, [registration])
            await stack.enter_async_context(synapse)
            user, token = await synapse.account(http, "human")
            human = Human(synapse.api(http, token), user)
            await human.watch()
            stack.callback(human.close)
            side = RealSide(synapse.address, human)
        else:
            side = FakeSide(registration, f"http://127.0.0.1:{port}")
            await side.start()
            stack.push_async_callback(side.stop)
        pid = int((server.data / "postmaster.pid").read_text().split()[0])
        yield Town(folder, registration, port, server.dsn, model, side, http, pid, synapse)


async def _with_statistics(server: EmbeddedPostgres) -> None:
    """Have statements counted: that is how many round trips there are."""
    async with connection(server.dsn) as db:
        await db.execute("alter system set shared_preload_libraries = 'pg_stat_statements'")
    await server.stop()
    await server.start()
    async with connection(server.dsn) as db:
        await db.execute("create extension pg_stat_statements")


@asynccontextmanager
async def services(
    t: Town, workers: int, code: Path, share: float = 1.0
) -> AsyncIterator[list[Process]]:
    """The service and further workers from the checkout `code`, until left.

    `share` of the time may each of them run, once all are ready.
    """
    ports = [free_port() for _ in range(workers)]
    values = settings(t.registration, t.homeserver.address, t.port, t.dsn, t.model.url)
    values["appservice"]["address"] = f"http://127.0.0.1:{t.port}"
    values["models"][MODEL]["context"] = CONTEXT
    values["metrics"] = {"port": ports[0]}
    path = write(t.folder / "service" / "config.yaml", values)
    log = path.parent / "service.log"
    async with AsyncExitStack() as stack:
        running = []
        for number, port in enumerate(ports):
            extra = ["--worker", "--metrics-port", str(port)] if number else []
            child = await _spawn(["run", "-c", str(path), *extra], log, code)
            stack.push_async_callback(child.stop)
            name = f"worker {number}" if number else "service"
            running.append(Process(name, child, f"http://127.0.0.1:{port}"))
            await _wait(lambda p=running[-1]: _ready(t, p), log)  # type: ignore[misc]
        if share < 1:
            pids = [str(process.child.pid) for process in running]
            command = [sys.executable, "-m", "tests.benchmarks.load.share", str(share), *pids]
            stack.push_async_callback((await spawn(command, cwd=ROOT)).stop)
        yield running


async def _spawn(arguments: list[str], log: Path, code: Path) -> Child:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONASYNCIODEBUG"}
    with log.open("ab") as output:
        return await spawn(
            [sys.executable, "-m", "memtrix_as", *arguments],
            cwd=log.parent, output=output, env=env | {"PYTHONPATH": str(code)},
        )  # fmt: skip


async def _ready(t: Town, process: Process) -> bool:
    if process.child.ended:
        raise RuntimeError(f"the {process.name} ended at its start")
    try:
        async with t.http.get(f"{process.watched}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def _wait(done: Callable[[], Awaitable[bool]], log: Path) -> None:
    try:
        async with asyncio.timeout(STARTING):
            while not await done():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except (RuntimeError, TimeoutError) as exc:
        exc.add_note(f"the service said:\n{tail(log)}")
        raise
