"""A door that behaves like Conduit: its refusals, and its way of pushing and of not retrying."""

import asyncio
import hashlib
import json
import re
import time
from typing import Any

from aiohttp import web

from tests.rig.api import Json
from tests.rig.door import Call, Door

DEVICELESS = re.compile(
    r"(/rooms/[^/]+/(messages|context/.*)|/sync|/keys/.*|/logout(/all)?"
    r"|/account/(password|deactivate))$"
)
OPEN = re.compile(r"/_matrix/client/(versions|.*/(register|login)$|.*/appservice/[^/]+/ping$)")
ONCE = re.compile(r"PUT .*/(?:send|redact)/.*/([^/]+)$")
VERSIONS = ["r0.5.0", "r0.6.0", *(f"v1.{n}" for n in range(1, 13))]
BATCH = 30


class ConduitDoor(Door):
    """What Conduit does otherwise than Synapse, as far as an application service can see it."""

    software = "conduit"

    def __init__(self, *args: Any, back_off: float = 0.3, patience: float = 30.0) -> None:
        super().__init__(*args)
        self.back_off, self.patience = back_off, patience  # Conduit's own back-off is 30 s
        self._namespaces = [
            re.compile(entry["regex"]) for entry in self.registration["namespaces"]["users"]
        ]
        self.forget()

    def forget(self) -> None:
        """As a new homeserver: no user of ours is known, nothing is queued."""
        self._registered: set[str] = set()
        self._sent: dict[tuple[str, str], web.Response] = {}
        self._waiting: list[tuple[int, int, Json]] = []  # by room, then in order
        self._rooms: list[str] = []
        self._active: list[Json] = []
        self._running, self._tries, self._failed_at, self._count = False, 0, 0.0, 0
        self._sending: asyncio.Task[None] | None = None

    async def lead_to(self, service: str) -> None:
        await super().lead_to(service)
        self.forget()

    async def drain(self) -> None:
        if self._sending:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        await super().drain()
        self.forget()

    # --- pushing -------------------------------------------------------------------------------

    async def _push(self, request: web.Request, body: Json) -> web.StreamResponse:
        for event in body["events"]:
            self._queue(event)
        return web.json_response({})

    def _queue(self, event: Json) -> None:
        """A new event: starts a transaction, or wakes a failed one; nothing else ever does."""
        room = event.get("room_id", "")
        if room not in self._rooms:
            self._rooms.append(room)
        self._count += 1
        entry = (self._rooms.index(room), self._count, event)
        self._waiting.append(entry)
        if self._running:
            return
        if not self._tries:
            self._waiting.remove(entry)
            self._start([event])
        elif time.monotonic() - self._failed_at >= self.back_off * self._tries**2:
            self._start(self._active)

    def _start(self, events: list[Json]) -> None:
        self._active, self._running = events, True
        self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while self._active:
            if not await self._sent_off(self._active):
                self._tries += 1
                self._failed_at, self._running = time.monotonic(), False
                return
            self._waiting.sort(key=lambda entry: entry[:2])
            self._active = [event for _, _, event in self._waiting[:BATCH]]
            del self._waiting[:BATCH]
            self._tries = 0
        self._running = False

    async def _sent_off(self, events: list[Json]) -> bool:
        ids = "".join(event["event_id"] for event in events)
        txn = hashlib.sha256(ids.encode()).hexdigest()
        if self._cut_pushes:
            return False
        token = self.registration["hs_token"]
        try:
            put = self._put(txn, {"events": events}, access_token=token)
            status, _ = await asyncio.wait_for(put, self.patience)
        except TimeoutError:
            return False
        return status == 200

    # --- requests ------------------------------------------------------------------------------

    async def _pass(self, request: web.Request, call: Call) -> web.Response:
        if call.path.endswith("/media/v1/create"):
            return _error(404, "M_UNRECOGNIZED", "Unrecognized request")
        if call.path.endswith("/_matrix/client/versions"):
            return web.json_response({"versions": VERSIONS, "unstable_features": {}})
        if call.token != self.registration["as_token"]:
            return await super()._pass(request, call)
        refusal = self._identity(call)
        if refusal:
            return refusal
        once = ONCE.match(f"{call.method} {call.path}")
        if not once:
            response = await super()._pass(request, call)
            self._learn(call, response)
            return response
        key = (call.user_id or "", once[1])  # per user, whatever the room
        if key not in self._sent:
            response = await super()._pass(request, call)
            if response.status != 200:
                return response
            self._sent[key] = response
        return web.Response(body=self._sent[key].body, content_type="application/json")

    def _identity(self, call: Call) -> web.Response | None:
        if OPEN.match(call.path):
            if call.path.endswith("/login") and call.method == "POST":
                user = call.json.get("identifier", {}).get("user", "")
                return None if self._full(user) in self._registered else web.Response(status=500)
            return None
        sender = self.user(self.registration["sender_localpart"])
        user = call.user_id or sender
        if user != sender and not any(regex.search(user) for regex in self._namespaces):
            return _error(400, "M_EXCLUSIVE", "User is not in namespace.")
        if user not in self._registered:
            return _error(403, "M_FORBIDDEN", "User does not exist.")
        gone = call.method == "DELETE" and "/devices/" in call.path
        return web.Response(status=500) if gone or DEVICELESS.search(call.path) else None

    def _learn(self, call: Call, response: web.Response) -> None:
        if call.path.endswith("/register"):
            answer = json.loads(bytes(response.body or b"{}"))  # type: ignore[arg-type]
            if response.status == 200 or answer.get("errcode") == "M_USER_IN_USE":
                self._registered.add(self._full(call.json.get("username", "")))

    def _full(self, user: str) -> str:
        return user.lower() if user.startswith("@") else self.user(user.lower())


def _error(status: int, errcode: str, text: str) -> web.Response:
    return web.json_response({"errcode": errcode, "error": text}, status=status)
