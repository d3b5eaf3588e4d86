"""When the homeserver counts as having been away: what was missed is then asked for."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from mautrix.api import Method
from mautrix.api import Path as Route

from memtrix_as import config
from memtrix_as.errors import HomeserverError
from memtrix_as.matrix import client
from memtrix_as.matrix.client import Client
from tests.rig.settings import settings, tokens, write

BOT = "@memtrix:hs.test"


class Server:
    """A homeserver that answers, or takes so many seconds, or refuses."""

    def __init__(self) -> None:
        self.script: list[int | float] = []  # statuses, or seconds

    async def handle(self, request: web.Request) -> web.Response:
        what = self.script.pop(0)
        if isinstance(what, float):
            await asyncio.sleep(what)
            what = 200
        return web.json_response({}, status=what)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def reached(server: Server, tmp_path: Path) -> AsyncIterator[Client]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    async with TestServer(app) as listening:
        values = settings(
            tokens("memtrix"), str(listening.make_url("")).rstrip("/"), 1, "postgresql://x/x"
        )
        async with client.opened(config.load(write(tmp_path / "config.yaml", values))) as made:
            yield made


@pytest.mark.parametrize(
    ("script", "times"),
    [
        ([200, 2.0, 200], 0),  # one that is slow
        ([2.0, 500, 2.0, 200], 0),  # it answers in between
        ([2.0, 2.0, 200, 200], 1),  # nothing gets through
        ([502, 200], 1),
    ],
)
async def test_it_was_away(
    reached: Client, server: Server, script: list[int | float], times: int
) -> None:
    returns: list[None] = []
    reached.returned = lambda: returns.append(None)
    server.script = list(script)
    for _ in script:
        try:
            await reached.request(Method.GET, Route.v3.sync, user=BOT, timeout=0.3)
        except HomeserverError:
            pass
    assert len(returns) == times


async def test_where_nothing_listens_it_is_away(tmp_path: Path) -> None:
    returns: list[None] = []
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    listening = TestServer(app)
    await listening.start_server()
    port = listening.port
    await listening.close()
    values = settings(tokens("memtrix"), f"http://127.0.0.1:{port}", 1, "postgresql://x/x")
    async with client.opened(config.load(write(tmp_path / "config.yaml", values))) as made:
        made.returned = lambda: returns.append(None)
        with pytest.raises(HomeserverError):
            await made.request(Method.GET, Route.v3.sync, user=BOT, timeout=5)
        again = TestServer(app, port=port)
        await again.start_server()
        server.script = [200]
        await made.request(Method.GET, Route.v3.sync, user=BOT, timeout=5)
        await again.close()
    assert len(returns) == 1
