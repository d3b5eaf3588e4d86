"""Whether the homeserver knows our registration, and reaches us at the address in it."""

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self
from uuid import uuid4

import aiohttp
from aiohttp import web

from memtrix_as.config import AppService, Service
from memtrix_as.errors import HomeserverError
from memtrix_as.matrix.account import TIMEOUT, ask

# What a homeserver says of a ping that failed (application service API, "Pinging").
FAILURES = {
    "M_CONNECTION_FAILED": "it cannot connect",
    "M_CONNECTION_TIMEOUT": "nothing answered it in time",
    "M_BAD_STATUS": "something else answered it",
    "M_URL_NOT_SET": "the registration has no address",
}


class Probe:
    """Asks with our as_token, without a running service."""

    def __init__(self, service: Service) -> None:
        self._base = f"{service.homeserver.address}/_matrix/client"
        self._service = service.appservice
        self._bot = f"@{service.appservice.bot_username}:{service.homeserver.domain}"
        self._http = aiohttp.ClientSession(timeout=TIMEOUT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def known(self) -> bool:
        """Whether our token opens the homeserver: also for a user that is not made yet."""
        status, told = await self._ask("GET", "v3/account/whoami")
        if status == 401:
            return False
        if status in (200, 400, 403):  # 400 M_EXCLUSIVE: an older registration, other names
            return True
        raise HomeserverError(
            f"The homeserver fails when asked for our token ({status}): {told.get('error', '')}",
            status=status,
        )

    async def reaches_us(self) -> str:
        """Have it ping us; empty, or why that failed."""
        # Conduit 0.10 wants a user who exists; the service makes this one at its start anyway.
        name = {"type": "m.login.application_service", "username": self._service.bot_username}
        await self._ask("POST", "v3/register", name | {"inhibit_login": True})
        async with answering(self._service):
            status, told = await self._ask(
                "POST", f"v1/appservice/{self._service.id}/ping", {"transaction_id": uuid4().hex}
            )
        if status == 200:
            return ""
        why = FAILURES.get(str(told.get("errcode")), f"it answered {status}")
        return f"{why}: {told.get('error', 'no reason told')}"

    async def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        query = {} if path == "v3/register" else {"user_id": self._bot}
        url = f"{self._base}/{path}"
        return await ask(self._http, method, url, self._service.as_token, body, query)


@asynccontextmanager
async def answering(service: AppService) -> AsyncIterator[None]:
    """Answers the homeserver's ping in place of the service, if that does not run right now."""

    async def ping(request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        token = token or request.query.get("access_token", "")
        if hmac.compare_digest(token.encode(), service.hs_token.encode()):
            return web.json_response({})
        error = {"errcode": "M_FORBIDDEN", "error": "This is not our hs_token."}
        return web.json_response(error, status=403)

    async def later(_: web.Request) -> web.Response:
        return web.json_response({"errcode": "M_UNKNOWN", "error": "Not yet."}, status=503)

    app = web.Application()
    app.router.add_post("/_matrix/app/v1/ping", ping)
    app.router.add_route("*", "/{rest:.*}", later)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, service.hostname, service.port).start()
        except OSError:
            pass  # the service runs, and answers itself
        yield
    finally:
        await runner.cleanup()
