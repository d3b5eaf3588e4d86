"""The door between homeserver and service: passes everything on, remembers it, breaks on demand."""

import asyncio
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

import aiohttp
from aiohttp import web
from yarl import URL

from tests.rig.api import Api, Json, Refused
from tests.rig.waiting import Waiting

HOP = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}
KEEP = ("Content-Type", "Content-Disposition", "Retry-After")
MAX_BODY = 256 * 1024**2
MARKER = {"msgtype": "m.text", "body": "the end"}
_numbers = itertools.count()


@dataclass
class Call:
    """One request of the service to the homeserver."""

    method: str
    path: str  # unquoted, without the query
    user_id: str | None
    token: str
    body: bytes = field(repr=False)
    status: int = 0  # 0: not answered

    @property
    def json(self) -> Json:
        return dict(json.loads(self.body)) if self.body else {}

    def matches(self, pattern: str) -> bool:
        return bool(re.search(pattern, f"{self.method} {self.path}"))


@dataclass
class Push:
    """One transaction that the homeserver has pushed, and what the service made of it."""

    txn_id: str
    events: list[Json] = field(repr=False)
    status: int


class Hold:
    """Stops matching requests until `release`; `drop` breaks their connections instead."""

    def __init__(self, when: Callable[[Call], bool], answers: bool) -> None:
        self.when, self.answers = when, answers
        self.caught: list[Call] = []
        self.gate = asyncio.Event()
        self.dropped = False

    def release(self) -> None:
        self.gate.set()

    def drop(self) -> None:
        self.dropped = True
        self.gate.set()


class Door(Waiting):
    """A transparent proxy for both directions on one port."""

    software = "synapse"
    back_off = 30.0  # seconds; only Conduit has one

    def __init__(self, api: Api, registration: Json, domain: str, port: int) -> None:
        super().__init__()
        self.registration, self.domain, self.port = registration, domain, port
        self.api = Api(api.http, api.base, registration["as_token"])
        self.calls: list[Call] = []
        self.pushes: list[Push] = []
        self.service: str | None = None  # where the service listens; None: events are thrown away
        self._lag, self._cut_calls, self._cut_pushes = 0.0, False, False
        self._holds: list[Hold] = []
        self._refusals: list[tuple[Callable[[Call], bool], int, Json, list[int]]] = []
        self._thrown: set[str] = set()
        self._runner: web.AppRunner | None = None
        self._drain_room = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def user(self, localpart: str) -> str:
        return f"@{localpart}:{self.domain}"

    # --- for tests ---------------------------------------------------------------------------

    def cut(self, *, calls: bool = True, pushes: bool = True) -> None:
        """Break the line: requests of the service (`calls`) and of the homeserver (`pushes`)."""
        self._cut_calls, self._cut_pushes = calls, pushes

    def heal(self) -> None:
        self.cut(calls=False, pushes=False)
        self._lag = 0.0
        self._refusals.clear()
        for hold in self._holds:
            hold.release()
        self._holds.clear()

    def delay(self, seconds: float) -> None:
        """Make the homeserver slow to answer."""
        self._lag = seconds

    def refuse(self, pattern: str, status: int, body: Json | None = None, times: int = 1) -> None:
        """Answer the next matching requests with an error, without asking the homeserver."""
        self._refusals.append((lambda c: c.matches(pattern), status, body or {}, [times]))

    def hold(self, when: Callable[[Call], bool] | str, *, answers: bool = False) -> Hold:
        """Hold matching requests back, or with `answers` let them act and hold the answer."""
        test = when if callable(when) else lambda c: c.matches(when)
        self._holds.append(Hold(test, answers))
        return self._holds[-1]

    def seen(self, pattern: str) -> list[Call]:
        return [call for call in self.calls if call.matches(pattern)]

    async def sees(self, pattern: str, count: int = 1) -> list[Call]:
        """Wait for requests of the service whose `METHOD /path` matches."""

        def found() -> list[Call] | None:
            calls = self.seen(pattern)
            return calls if len(calls) >= count else None

        return await self.until(found, f"{count} times {pattern} at the homeserver")

    async def catches(self, hold: Hold) -> Call:
        await self.until(lambda: bool(hold.caught), "a request to be held")
        return hold.caught[0]

    async def delivered(self, event_id: str) -> None:
        """Wait until the service has acknowledged the event."""

        def found() -> bool:
            return any(p.status == 200 and event_id in _ids(p.events) for p in self.pushes)

        await self.until(found, f"the service to acknowledge {event_id}")

    def picture(self) -> str:
        lines = [f"    {c.status} {c.method} {c.path} {c.user_id}" for c in self.calls[-40:]]
        return "\n".join(["  requests of the service:", *lines])

    # --- life --------------------------------------------------------------------------------

    async def open(self) -> None:
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_put("/_matrix/app/v1/transactions/{txn}", self._pushed)
        app.router.add_route("*", "/_matrix/app/{rest:.*}", self._asked)
        app.router.add_route("*", "/{rest:.*}", self._called)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def close(self) -> None:
        self.heal()
        if self._runner:
            await self._runner.cleanup()

    async def lead_to(self, service: str) -> None:
        """From now on everything goes to and from this service."""
        self.calls.clear()
        self.pushes.clear()
        self.heal()
        self.service = service

    async def drain(self) -> None:
        """Throw away what the homeserver still wants to push, so that the next test starts clean.

        The homeserver keeps the order, so a marker of our own comes last.
        """
        self.heal()
        self.service = None
        keeper = self.user(f"{self.registration['id']}_keeper")
        if not self._drain_room:
            name = keeper[1:].split(":")[0]
            body = {"type": "m.login.application_service", "username": name, "inhibit_login": True}
            await self.api.call("POST", "/register", body)
            room = await self.api.call("POST", "/createRoom", {}, user_id=keeper)
            self._drain_room = room["room_id"]
        for _ in range(4):  # Synapse may overlook a transaction while it recovers
            if any(push.status != 200 for push in self.pushes):
                await self._flush()
            path = f"/rooms/{self._drain_room}/send/m.room.message/{next(_numbers)}"
            marker = await self.api.call("PUT", path, MARKER, user_id=keeper)
            if await self._throws(marker["event_id"]):
                break
        else:
            raise AssertionError("the homeserver does not push any more")
        self._thrown.clear()

    async def _throws(self, event_id: str) -> bool:
        try:
            return await self.until(lambda: event_id in self._thrown, "the marker", 2)
        except AssertionError:
            return False

    @property
    def alias(self) -> str:
        """The alias of this registration's management room."""
        return f"#{self.registration['id']}-admin:{self.domain}"

    async def remove_alias(self) -> None:
        """The management room of an earlier test is not the next one's."""
        sender = self.user(self.registration["sender_localpart"])
        try:
            path = f"/directory/room/{quote(self.alias)}"
            await self.api.call("DELETE", path, user_id=sender)
        except Refused as exc:
            if exc.status not in (403, 404):  # nobody has made it yet
                raise

    async def _flush(self) -> None:
        path = f"/_matrix/client/v1/appservice/{self.registration['id']}/ping"
        try:
            await self.api.call("POST", path, {})
        except Refused as exc:
            if exc.status != 502:  # Synapse trips over a connection that was closed right then
                raise

    # --- from the homeserver to the service ----------------------------------------------------

    async def _pushed(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        if self.service is None:
            self._thrown |= _ids(body["events"])
            self.changed()
            return web.json_response({})
        return await self._push(request, body)

    async def _push(self, request: web.Request, body: Json) -> web.StreamResponse:
        if self._cut_pushes:
            self.pushes.append(Push(request.match_info["txn"], body["events"], 0))
            return _hang_up(request)
        status, text = await self._put(request.match_info["txn"], body)
        return web.Response(status=status, text=text, content_type="application/json")

    async def _put(self, txn: str, body: Json, **params: str) -> tuple[int, str]:
        """Hand a transaction to the service; 502 when it is not there."""
        url = f"{self.service}/_matrix/app/v1/transactions/{txn}"
        headers = {"Authorization": f"Bearer {self.registration['hs_token']}"}
        try:
            async with self.api.http.put(url, json=body, headers=headers, params=params) as answer:
                status, text = answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError) as exc:
            status, text = 502, repr(exc)
        self.pushes.append(Push(txn, body["events"], status))
        self.changed()
        return status, text

    async def _asked(self, request: web.Request) -> web.StreamResponse:
        """Pings and queries of the homeserver."""
        if self.service is None:
            return web.json_response({})
        if self._cut_pushes:
            return _hang_up(request)
        return await self._forward(request, self.service, await request.read())

    # --- from the service to the homeserver ----------------------------------------------------

    async def _called(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        token = token or request.query.get("access_token", "")
        path, body = unquote(request.raw_path.split("?")[0]), await request.read()
        call = Call(request.method, path, request.query.get("user_id"), token, body)
        self.calls.append(call)
        self.changed()
        if self._cut_calls or not await self._held(call, answers=False):
            return _hang_up(request)
        await asyncio.sleep(self._lag)
        response = self._refused(call) or await self._pass(request, call)
        call.status = response.status
        self.changed()
        if self._cut_calls or not await self._held(call, answers=True):
            return _hang_up(request)
        return response

    async def _held(self, call: Call, *, answers: bool) -> bool:
        for hold in [h for h in self._holds if h.answers == answers and h.when(call)]:
            hold.caught.append(call)
            self.changed()
            await hold.gate.wait()
            if hold.dropped:
                return False
        return True

    def _refused(self, call: Call) -> web.Response | None:
        for when, status, body, left in self._refusals:
            if left[0] and when(call):
                left[0] -= 1
                return web.json_response(body, status=status)
        return None

    async def _pass(self, request: web.Request, call: Call) -> web.Response:
        return await self._forward(request, self.api.base, call.body)

    async def _forward(self, request: web.Request, base: str, body: bytes) -> web.Response:
        url = URL(base + request.raw_path, encoded=True)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP}
        try:
            async with self.api.http.request(
                request.method, url, data=body or None, headers=headers, allow_redirects=False
            ) as answer:
                kept = {k: answer.headers[k] for k in KEEP if k in answer.headers}
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)
        except (aiohttp.ClientError, TimeoutError) as exc:
            return web.Response(status=502, text=repr(exc))


def _ids(events: list[Json]) -> set[str]:
    return {str(e.get("event_id")) for e in events if isinstance(e, dict)}


def _hang_up(request: web.Request) -> web.StreamResponse:
    if request.transport:
        request.transport.abort()
    return web.Response(status=502)
