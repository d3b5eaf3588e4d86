"""The real parts that a benchmark runs on: PostgreSQL, Synapse, the model, the service."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from aiohttp import web

from memtrix_as import database
from memtrix_as.local.child import Child, spawn
from memtrix_as.local.ports import free_port
from memtrix_as.local.postgres import EmbeddedPostgres
from memtrix_as.testing import Reply, Request, ScriptedModel
from tests.rig.api import Api, Json
from tests.rig.homeserver import Homeserver
from tests.rig.settings import DOMAIN, MODEL, register, settings, write

ROOT = Path(__file__).parents[2]
SYNAPSE = Path(os.environ.get("MEMTRIX_SYNAPSE_PYTHON", ROOT / ".venv-synapse/bin/python"))
AGENT = "memtrix"
CONTEXT = 131_072  # tokens: so that no history of ours is condensed


class Model(ScriptedModel):
    """Repeats what it was told; knows when each request had come and each answer had gone."""

    def __init__(self) -> None:
        super().__init__()
        self.delay = 0.0  # seconds before the first token
        self.asked_at: dict[str, float] = {}  # by what the human said
        self.said_at: dict[str, float] = {}
        self.default = self._echo

    def _echo(self, request: Request) -> Reply:
        return Reply([f"You said: {request.last_user}"], after=self.delay)

    async def _chat(self, http: web.Request) -> web.StreamResponse:
        await http.read()
        arrived = time.monotonic()
        last = Request(await http.json(), {}).last_user
        self.asked_at[last] = arrived
        return await super()._chat(http)

    async def _answer(
        self, http: web.Request, request: Request, reply: Reply
    ) -> web.StreamResponse:
        response = await super()._answer(http, request, reply)
        self.said_at[request.last_user] = time.monotonic()
        self.requests.clear()
        return response


@dataclass
class Human:
    """One who writes, and sees by a real /sync long poll; knows when he saw what."""

    api: Api
    user_id: str
    seen: dict[str, tuple[float, str]] = field(default_factory=dict)  # text -> when, sender
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    async def watch(self) -> None:
        query = {"filter": json.dumps({"presence": {"types": []}}), "timeout": "0"}
        since = (await self.api.call("GET", "/sync", **query))["next_batch"]
        self._task = asyncio.create_task(self._watch(query | {"timeout": "30000"}, since))

    async def _watch(self, query: dict[str, str], since: str) -> None:
        while True:
            got = await self.api.call("GET", "/sync", **query, since=since)
            now, since = time.monotonic(), got["next_batch"]
            for room in got.get("rooms", {}).get("join", {}).values():
                for event in room["timeline"]["events"]:
                    content = event["content"]
                    if event["type"] == "m.room.message" and event["sender"] != self.user_id:
                        new = content.get("m.new_content", content)
                        if "io.memtrix.draft" not in content:
                            self.seen.setdefault(new["body"], (now, event["sender"]))
            self._changed.set()
            self._changed = asyncio.Event()

    def close(self) -> None:
        if self._task:
            self._task.cancel()

    async def send(self, room: str, text: str) -> None:
        path = f"/rooms/{room}/send/m.room.message/{text.replace(' ', '-')}"
        body = {"msgtype": "m.text", "body": text, "m.mentions": {}}
        await self.api.call("PUT", path, body)

    async def sees(self, text: str, timeout: float = 30.0) -> float:
        """When a message with this text was seen."""
        async with asyncio.timeout(timeout):
            while text not in self.seen:
                await self._changed.wait()
        return self.seen[text][0]

    async def room_with(self, user: str) -> str:
        """A direct room that `user` has joined."""
        body = {"invite": [user], "is_direct": True, "preset": "trusted_private_chat"}
        room = str((await self.api.call("POST", "/createRoom", body))["room_id"])
        for _ in range(600):
            members = await self.api.call("GET", f"/rooms/{room}/joined_members")
            if user in members["joined"]:
                return room
            await asyncio.sleep(0.05)
        raise TimeoutError(f"{user} does not come into {room}")


@dataclass
class Parts:
    """Everything but the service."""

    folder: Path
    registration: Json
    port: int  # where the homeserver believes that the service listens
    dsn: str
    homeserver: Homeserver
    model: Model
    http: aiohttp.ClientSession

    @property
    def agent(self) -> str:
        return f"@{AGENT}:{DOMAIN}"

    async def human(self, name: str) -> Human:
        user, token = await self.homeserver.account(self.http, name)
        human = Human(self.homeserver.api(self.http, token), user)
        await human.watch()
        return human


@asynccontextmanager
async def parts(folder: Path) -> AsyncIterator[Parts]:
    """Start them, with the durability that users have."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    registration = register(AGENT, address, folder)
    homeserver = Homeserver(folder, SYNAPSE, [registration])
    limits = aiohttp.TCPConnector(limit=0)
    async with (
        EmbeddedPostgres(folder / "postgres") as server,
        Model() as model,
        homeserver,
        aiohttp.ClientSession(connector=limits) as http,
    ):
        await database.migrate(server.dsn)
        yield Parts(folder, registration, port, server.dsn, homeserver, model, http)


@asynccontextmanager
async def connection(dsn: str) -> AsyncIterator[Any]:
    made = await asyncpg.connect(dsn, ssl=False)
    try:
        yield made
    finally:
        await made.close()


@dataclass
class Service:
    """The service as users run it: `python -m memtrix_as -c config.yaml`."""

    child: Child
    started_in: float  # seconds from its process to /_matrix/mau/ready

    @property
    def rss(self) -> float:
        """Resident memory in MB."""
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return float("nan")

    @property
    def cpu(self) -> float:
        """Seconds that it has run on a processor, all threads."""
        ran = 0
        for task in Path(f"/proc/{self.child.pid}/task").iterdir():
            ran += int((task / "schedstat").read_text().split()[0])
        return ran / 1e9


@asynccontextmanager
async def service(
    p: Parts,
    *,
    port: int = 0,
    homeserver: int = 0,
    database: int = 0,
    streaming: bool = True,
    code: Path = ROOT,
) -> AsyncIterator[Service]:
    """Runs until left; ports other than the parts' own are those of pass-throughs.

    `code` is the checkout that it runs from.
    """
    port = port or p.port
    address = f"http://127.0.0.1:{homeserver}" if homeserver else p.homeserver.address
    host, _, rest = p.dsn.rpartition(":")
    dsn = f"{host}:{database}/{rest.partition('/')[2]}" if database else p.dsn
    values = settings(p.registration, address, port, dsn, p.model.url)
    values["appservice"]["address"] = f"http://127.0.0.1:{p.port}"
    values["models"][MODEL]["context"] = CONTEXT
    values["limits"] = {"streaming": streaming}
    path = write(p.folder / "service" / "config.yaml", values)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONASYNCIODEBUG"}
    with (path.parent / "service.log").open("ab") as log:
        began = time.monotonic()
        child = await spawn(
            [sys.executable, "-m", "memtrix_as", "-c", path],
            cwd=path.parent, output=log, env=env | {"PYTHONPATH": str(code)},
        )  # fmt: skip
    try:
        await _ready(p, port, child)
        yield Service(child, time.monotonic() - began)
    except Exception as exc:
        exc.add_note(f"the service said:\n{(path.parent / 'service.log').read_text()[-3000:]}")
        raise
    finally:
        await child.stop()


async def _ready(p: Parts, port: int, child: Child) -> None:
    async with asyncio.timeout(30):
        while not child.ended:
            try:
                async with p.http.get(f"http://127.0.0.1:{port}/_matrix/mau/ready") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.005)
    log = p.folder / "service" / "service.log"
    raise RuntimeError(f"the service ended at its start:\n{log.read_text()[-3000:]}")
