"""Our own port: the service has it, or it is free and answers the homeserver's ping here."""

import errno
import hmac
from contextlib import AsyncExitStack

import aiohttp
from aiohttp import web

from memtrix_as.config import Config
from memtrix_as.doctor.check import Ailing
from memtrix_as.local.ports import holder


class Door:
    """Listens in the service's place while that does not run, for as long as `stack` is open.

    It takes nothing in: a transaction gets a 503, after which the homeserver keeps it.
    """

    def __init__(self, config: Config, http: aiohttp.ClientSession, stack: AsyncExitStack) -> None:
        self._service, self._http, self._stack = config.appservice, http, stack
        self.strange_token = False  # somebody came with another hs_token than ours

    async def listen(self) -> str:
        host, port = self._service.hostname, self._service.port
        app = web.Application()
        app.router.add_post("/_matrix/app/v1/ping", self._ping)
        app.router.add_route("*", "/{rest:.*}", self._keep)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, host, port, reuse_address=True).start()
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                return await self._taken()
            raise Ailing(
                f"nobody can listen on {host}:{port} here ({exc.strerror})",
                "set appservice.hostname to an address of this machine (127.0.0.1, or 0.0.0.0 for "
                "all) and appservice.port to one from 1024 on",
            ) from exc
        return f"{host}:{port} is free; the service does not run"

    async def _taken(self) -> str:
        host, port = self._service.hostname, self._service.port
        near = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
        url = f"http://{near}:{port}/_matrix/mau/ready"
        try:
            async with self._http.get(url) as got:
                status, text = got.status, (await got.text()).strip()
        except (aiohttp.ClientError, OSError, UnicodeDecodeError):
            status, text = 0, ""
        if text != "{}" or status not in (200, 500):
            who = holder(port) or "another program listens there"
            raise Ailing(
                f"port {port} is taken: {who}",
                "stop that program, or change appservice.port and appservice.address, and make "
                "the registration anew (memtrix-as -g)",
            )
        if status == 500:
            raise Ailing(
                "the service runs, and is not ready yet: it waits for the homeserver",
                "mend what else is told here; it goes on by itself", "warn",
            )  # fmt: skip
        return f"the service runs on {host}:{port}"

    async def _ping(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        given = given or request.query.get("access_token", "")
        if hmac.compare_digest(given.encode(errors="replace"), self._service.hs_token.encode()):
            return web.json_response({})
        self.strange_token = True
        return web.json_response({"errcode": "M_FORBIDDEN"}, status=403)

    async def _keep(self, _: web.Request) -> web.Response:
        return web.json_response({"errcode": "M_UNKNOWN"}, status=503)
