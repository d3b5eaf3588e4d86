"""The application service under test: in this process, or as one of its own that can be killed."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import aiohttp

from memtrix_as import config
from memtrix_as.app import App
from memtrix_as.local.child import Child, spawn
from memtrix_as.local.ports import free_port
from tests.rig.api import Json
from tests.rig.door import Door
from tests.rig.settings import settings, write
from tests.rig.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
WORKS = "Working for the service on this database"


class Service:
    """One installation in `folder`; `settings` is its config.yaml, free to change until `start`."""

    def __init__(self, folder: Path, door: Door, dsn: str, model_url: str) -> None:
        self.folder, self.door, self.port = folder, door, free_port()
        self.settings = settings(
            door.registration, door.address, self.port, dsn, model_url, door.software
        )
        self.settings["homeserver"]["push_back_off"] = door.back_off
        self._app: App | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def app(self) -> App:
        """The running service itself."""
        assert self._app
        return self._app

    def set(self, key: str, value: Any) -> None:
        """Change one setting, by its dotted name."""
        *sections, name = key.split(".")
        at = self.settings
        for section in sections:
            at = at.setdefault(section, {})
        at[name] = value

    def permit(self, **roles: str) -> None:
        """Give roles to user ids; keyword names cannot hold them, so use `permit(**{...})`."""
        self.settings["permissions"] = roles

    def write(self) -> Path:
        return write(self.folder / "config.yaml", self.settings)

    async def launch(self) -> None:
        """Start it, and do not wait for the homeserver."""
        path = self.write()
        self._app = App(config.load(path), path)
        await self._app.start()

    async def start(self) -> None:
        await self.launch()
        await asyncio.wait_for(self.app.ready.wait(), PATIENCE)

    async def stop(self) -> None:
        if self._app:
            app, self._app = self._app, None
            await app.stop()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def put(self, txn: str, body: Json | bytes, token: str | None = None) -> tuple[int, Json]:
        """Push a transaction by hand, past homeserver and door."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        token = token or self.door.registration["hs_token"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        url = f"{self.url}/_matrix/app/v1/transactions/{txn}"
        async with self.door.api.http.put(url, data=BytesIO(data), headers=headers) as answer:
            return answer.status, await answer.json(content_type=None) or {}


async def run(config: Path, log: Path, arguments: Sequence[str] = ()) -> Child:
    """`memtrix-as run` as a process."""
    command = [sys.executable, "-m", "memtrix_as", "run", "-c", config, *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with log.open("ab") as output:
        return await spawn(command, cwd=config.parent, output=output, env=env)


class Worker:
    """A process that works beside a service, for as long as a test lets it."""

    def __init__(self, service: Service, *arguments: str) -> None:
        self._service, self._arguments = service, arguments
        self.log = service.folder / "worker.log"
        self._child: Child | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._child:
            await self.stop(signal.SIGTERM)

    async def start(self) -> None:
        """It works when this returns."""
        self.log.touch()
        ready = self.text().count(WORKS) + 1
        self._child = await run(self._service.write(), self.log, ["--worker", *self._arguments])
        async with asyncio.timeout(PATIENCE):
            while self.text().count(WORKS) < ready:
                assert not self._child.ended, self.text()
                await asyncio.sleep(0.02)

    async def stop(self, signum: int = signal.SIGKILL) -> int:
        """End it; returns its exit code."""
        assert self._child
        child, self._child = self._child, None
        return await child.stop(signum)

    def text(self) -> str:
        """Everything that it has logged."""
        return self.log.read_text(errors="replace")


class Process(Service):
    """The same service as `python -m memtrix_as`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.log = self.folder / "service.log"
        self.arguments: list[str] = []  # of `run`
        self._child: Child | None = None

    async def start(self) -> None:
        self.begin_log()
        await self.spawn()
        await self.ready()

    def begin_log(self) -> None:
        self.log.touch()

    async def spawn(self) -> None:
        """Start it without waiting for anything."""
        self._child = await run(self.write(), self.log, self.arguments)

    async def ready(self, timeout: float = 30.0) -> None:
        """Wait until it says that it is ready."""
        http, child = self.door.api.http, self._child
        assert child
        async with asyncio.timeout(timeout):
            while not child.ended:
                try:
                    async with http.get(f"{self.url}/_matrix/mau/ready") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.02)
        raise AssertionError(f"the service ended at start:\n{self.text()[-4000:]}")

    async def kill9(self) -> None:
        await self._signal(signal.SIGKILL)

    async def terminate(self) -> int:
        """SIGTERM, as an init system does it; returns the exit code."""
        return await self._signal(signal.SIGTERM)

    async def stop(self) -> None:
        if self._child:
            await self._signal(signal.SIGTERM)

    async def _signal(self, signum: int) -> int:
        assert self._child
        child, self._child = self._child, None
        return await child.stop(signum)

    def text(self) -> str:
        """Everything that it has logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""
