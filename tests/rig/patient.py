"""An installation that the doctor looks at: healthy, until a test breaks one part of it."""

import asyncio
import json
import os
import sys
from pathlib import Path

from aiohttp import web

from memtrix_as.doctor import command
from memtrix_as.doctor.check import Finding
from memtrix_as.testing import ScriptedModel
from tests.rig.api import Json
from tests.rig.service import Service
from tests.rig.settings import DOMAIN

ROOT = Path(__file__).parents[2]


class Patient:
    """A service that is configured; it need not run."""

    def __init__(self, service: Service, model: ScriptedModel) -> None:
        self.service, self.model = service, model
        self.set, self.mode = service.set, 0o600
        service.permit(**{f"@boss:{DOMAIN}": "admin", DOMAIN: "user"})
        model.by_default("OK")

    @property
    def config(self) -> Path:
        return self.service.folder / "config.yaml"

    def write(self) -> None:
        self.service.write().chmod(self.mode)

    async def found(self, *, calls: bool = True, within: float = 25.0) -> list[Finding]:
        self.write()
        found = await command.look(self.config, calls=calls, within=within)
        assert all(each.fix for each in found if each.state in ("warn", "fail")), found
        return found

    async def faults(self, state: str = "fail") -> list[Finding]:
        return [each for each in await self.found() if each.state == state]

    async def fault(self, check: str, *, says: str, fix: str, state: str = "fail") -> Finding:
        """The one fault that there is: in this check, in these words, to be mended so."""
        found = await self.faults(state)
        assert [each.check for each in found] == [check], found
        assert says in found[0].found, found
        assert fix in found[0].fix, found
        return found[0]

    async def told(self, *options: str) -> tuple[int, str]:
        """What the command prints, and its exit status."""
        self.write()
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "memtrix_as", "doctor", "-c", str(self.config), *options),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            cwd=self.service.folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        output, errors = await asyncio.wait_for(child.communicate(), 60)
        assert b"Traceback" not in errors, errors.decode()
        assert child.returncode is not None
        return child.returncode, output.decode()

    async def json(self, *options: str) -> tuple[int, Json]:
        code, text = await self.told("--json", *options)
        return code, json.loads(text)


class Somebody:
    """A server that answers everything in one way, or not at all."""

    def __init__(
        self, status: int = 200, body: object = None, *, port: int = 0, **headers: str
    ) -> None:
        self._status, self._body, self._headers = status, body, headers
        self._port = port
        self.silent = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> "Somebody":
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, _: web.Request) -> web.Response:
        if self.silent:
            await asyncio.sleep(60)
        return web.json_response(self._body, status=self._status, headers=self._headers)
