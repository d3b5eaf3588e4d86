"""Everything that a run needs: homeserver, database and model behind lines that can be cut."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from memtrix_as.local.ports import free_port
from memtrix_as.testing import ScriptedModel
from tests.faults import talk
from tests.faults.doom import Doom
from tests.faults.nursery import Mortal, Nursery
from tests.faults.relay import Line
from tests.faults.synapse import RealHomeserver
from tests.rig.api import Json
from tests.rig.database import Database
from tests.rig.fakeserver import FakeHomeserver
from tests.rig.settings import DOMAIN, MODEL, register, settings, write
from tests.rig.waiting import until

NAME = "memtrix"
AGENT, HUMAN = f"@{NAME}:{DOMAIN}", f"@ann:{DOMAIN}"
WORKS = "Working for the service on this database"
DIMENSIONS = 16


class Vectors:
    """`/v1/embeddings` that costs nothing: a vector is made of a text's hash."""

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/embeddings", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        rows = [
            {"index": n, "embedding": [b / 255 for b in hashlib.md5(text.encode()).digest()]}
            for n, text in enumerate((await request.json())["input"])
        ]
        return web.json_response({"object": "list", "data": rows})


@dataclass
class Town:
    """What stands while processes come and go."""

    folder: Path
    seed: int
    database: Database
    homeserver: FakeHomeserver | RealHomeserver
    model: ScriptedModel
    mind: talk.Mind
    nursery: Nursery
    http: aiohttp.ClientSession
    lines: dict[str, Line] = field(default_factory=dict)
    processes: dict[str, Mortal] = field(default_factory=dict)  # by name: service, worker0, …
    settings: Json = field(default_factory=dict)
    yes: set[str] = field(default_factory=set)  # tokens that a human said yes to
    log: list[str] = field(default_factory=list)

    @property
    def effects(self) -> list[str]:
        """Each line that a tool has written, such as `ring r0m3`."""
        file = self.folder / "effects"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def set(self, section: str, name: str, value: Any) -> None:
        """Change a setting, for processes that start from now on."""
        self.settings.setdefault(section, {})[name] = value
        write(self.folder / "config.yaml", self.settings)

    @property
    def service(self) -> Mortal:
        return self.processes["service"]

    def note(self, what: str) -> None:
        self.log.append(f"{asyncio.get_running_loop().time():.2f} {what}")

    async def start(self, name: str = "service", doom: Doom | None = None) -> Mortal:
        """Start the service, or a worker, and wait for nothing."""
        arguments = ["run", *(["--worker"] if name != "service" else [])]
        config = self.folder / "config.yaml"
        born = await self.nursery.bear(
            [*arguments, "-c", str(config)], self.folder, self.folder / f"{name}.log", doom
        )
        self.processes[name] = born
        return born

    async def ready(self, timeout: float = 30.0) -> None:
        """Wait until the service has said that it is ready; AssertionError when it ends."""
        service = self.service
        async with asyncio.timeout(timeout):
            while service.alive:
                try:
                    async with self.http.get(
                        f"{self.homeserver.service}/_matrix/mau/ready"
                    ) as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.02)
        raise AssertionError(f"the service ended at its start:\n{self.text()[-3000:]}")

    def text(self) -> str:
        """What all processes have logged."""
        return "\n".join(p.read_text(errors="replace") for p in self.folder.glob("*.log"))

    async def chat(self) -> str:
        """A room of a human with the agent, which has come in."""
        made = self.homeserver.make_room(HUMAN, AGENT)
        room = made if isinstance(made, str) else await made
        seen = self.homeserver.rooms[room]
        await until(lambda: seen.membership(AGENT) == "join", f"the agent in {room}", 30)
        return room

    def heal(self) -> None:
        for line in self.lines.values():
            line.heal()

    def answers_questions(self, room_id: str, event: Json) -> None:
        """The human reacts to each question as the seed says."""
        asked = talk.question(event) if event["sender"] == AGENT else None
        if not asked:
            return
        consents = talk.consents(asked.token, self.seed)
        if consents:
            self.yes.add(asked.token)
        loop = asyncio.get_running_loop()
        loop.call_later(
            0.01, self.homeserver.react, room_id, HUMAN, asked.event_id, "✅" if consents else "❌"
        )


@asynccontextmanager
async def town(
    folder: Path, database: Database, seed: int, *, real: bool = False, **changes: Any
) -> AsyncIterator[Town]:
    """Stands until left; `real`: with Synapse; `changes` are settings by their dotted names."""
    async with AsyncExitStack() as stack:
        port = free_port()
        pushes = Line(port)
        await pushes.start()
        stack.push_async_callback(pushes.stop)
        service = f"http://127.0.0.1:{pushes.port}"
        registration = register(NAME, service, folder)
        homeserver = (
            RealHomeserver(folder, registration) if real else FakeHomeserver(registration, DOMAIN)
        )
        homeserver.service = service
        mind, vectors = talk.Mind(seed), Vectors()
        model = ScriptedModel()

        def answer(request: Any) -> Any:
            model.requests.clear()  # thousands of them, each with its history
            return mind(request)

        model.default = answer
        for part in (homeserver, model, vectors):
            await part.start()
            stack.push_async_callback(part.stop)
        lines = {
            "database": Line(int(database.dsn.rpartition(":")[2].partition("/")[0])),
            "homeserver": Line(homeserver.port),
            "model": Line(int(model.url.rpartition(":")[2])),
        }
        for line in lines.values():
            await line.start()
            stack.push_async_callback(line.stop)
        lines["pushes"] = pushes
        values = _settings(folder, registration, database.dsn, lines, port)
        values["models"][MODEL]["context"] = 1_000_000  # condensing would only be in the way
        values["embeddings"] = {"model": "hashes", "base_url": vectors.url}
        for key, value in changes.items():
            section, _, name = key.partition(".")
            values.setdefault(section, {})[name] = value
        write(folder / "config.yaml", values)
        nursery = await stack.enter_async_context(Nursery())
        http = await stack.enter_async_context(aiohttp.ClientSession())
        made = Town(folder, seed, database, homeserver, model, mind, nursery, http, lines,
                    settings=values)  # fmt: skip
        homeserver.heard.append(made.answers_questions)
        try:
            yield made
        finally:
            made.heal()
            for process in made.processes.values():
                await process.kill()


def _settings(
    folder: Path, registration: Json, dsn: str, lines: dict[str, Line], port: int
) -> Json:
    head, _, tail = dsn.rpartition(":")
    values = settings(
        registration,
        f"http://127.0.0.1:{lines['homeserver'].port}",
        port,
        f"{head}:{lines['database'].port}/{tail.partition('/')[2]}",
        f"http://127.0.0.1:{lines['model'].port}",
    )
    tools = folder / "tools"
    tools.mkdir(parents=True, exist_ok=True)
    (tools / "effects.py").write_text(
        talk.TOOLS.replace("{effects!r}", json.dumps(str(folder / "effects")))
    )
    values["tools"] = {"directories": [str(tools)]}
    return values
