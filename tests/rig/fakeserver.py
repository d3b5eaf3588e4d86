"""A homeserver that costs nothing: as much of the client API as an application service asks for.

It pushes as Synapse does: one transaction at a time, in order, the same again after a failure and
ever later, at once after a ping. An event is stored once for each transaction id.
"""

import asyncio
import itertools
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import aiohttp
from aiohttp import web

from tests.rig.api import Json
from tests.rig.timeline import Timeline

BATCH = 100  # events of one transaction
_ROOM = r"/rooms/(?P<room>[^/]+)"


@dataclass
class Room(Timeline):
    """A room with all that was ever sent there."""

    kinds: set[str] = field(default_factory=set)

    def joined(self) -> list[str]:
        return [
            key for (kind, key), event in self.state.items()
            if kind == "m.room.member" and event["content"].get("membership") == "join"
        ]  # fmt: skip


class FakeHomeserver:
    """Open between `start` and `stop`; `service` is where the pushes go."""

    def __init__(self, registration: Json, domain: str) -> None:
        self.registration, self.domain = registration, domain
        self.service = ""
        self.rooms: dict[str, Room] = {}
        self.skew = 0.0  # seconds that its clock is off
        self.back_off = 1.0  # seconds after a failed push; then twice as long, up to 64 times
        self.heard: list[Callable[[str, Json], None]] = []  # called with each event of a room
        self.pushed = self.refused = self.repeated = 0
        self.holds: Callable[[Json], float] = lambda body: 0.0  # how long a request is worked on
        self._numbers = itertools.count(1)
        self._users: set[str] = set()
        self._answers: dict[tuple[str, str], Json] = {}
        self._tokens: dict[str, str] = {}
        self._queue: list[Json] = []
        self._bell = asyncio.Event()
        self._routes = [
            (method, re.compile(f"/_matrix/(?:client|media)/(?:r0|v1|v3){path}$"), handler)
            for method, path, handler in self._table()
        ]

    @property
    def port(self) -> int:
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{rest:.*}", self._called)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024).start()
        timeout = aiohttp.ClientTimeout(total=20)
        self._http = aiohttp.ClientSession(timeout=timeout)
        self._pushing = asyncio.create_task(self._push())

    async def stop(self) -> None:
        self._pushing.cancel()
        await asyncio.gather(self._pushing, return_exceptions=True)
        await self._http.close()
        await self._runner.cleanup()

    def forget_transactions(self) -> None:
        """As Synapse does at a restart."""
        self._answers.clear()

    # --- for tests ---------------------------------------------------------------------------

    def make_room(self, human: str, *invited: str) -> str:
        room_id = f"!room{next(self._numbers)}:{self.domain}"
        self.rooms[room_id] = Room(room_id)
        self.add(room_id, human, "m.room.create", {"creator": human}, "")
        self.add(room_id, human, "m.room.member", {"membership": "join"}, human)
        for user in invited:
            content = {"membership": "invite", "is_direct": True}
            self.add(room_id, human, "m.room.member", content, user)
        return room_id

    def say(self, room_id: str, human: str, text: str) -> str:
        content = {"msgtype": "m.text", "body": text, "m.mentions": {}}
        return self.add(room_id, human, "m.room.message", content)

    def react(self, room_id: str, human: str, event_id: str, key: str) -> str:
        relates = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        return self.add(room_id, human, "m.reaction", {"m.relates_to": relates})

    def add(
        self, room_id: str, sender: str, kind: str, content: Json, state_key: str | None = None
    ) -> str:
        """An event comes into a room, and is to be pushed if it concerns the service."""
        event: Json = {
            "event_id": f"${next(self._numbers)}",
            "room_id": room_id,
            "type": kind,
            "sender": sender,
            "content": content,
            "origin_server_ts": int((time.time() + self.skew) * 1000),
        }
        if state_key is not None:
            event["state_key"] = state_key
        room = self.rooms[room_id]
        room.add(event)
        if any(map(self._ours, [sender, state_key or "", *room.joined()])):
            self._queue.append(event)
            self._bell.set()
        for listener in self.heard:
            listener(room_id, event)
        return str(event["event_id"])

    def _ours(self, user: str) -> bool:
        return user.startswith(f"@{self.registration['id']}")

    # --- to the service ------------------------------------------------------------------------

    async def _push(self) -> None:
        for txn in itertools.count(1):
            while not self._queue:
                self._bell.clear()
                await self._bell.wait()
            batch = self._queue[:BATCH]
            tries = 0
            while not await self._put(txn, batch):
                self.refused += 1
                self._flush = asyncio.Event()
                try:
                    await asyncio.wait_for(self._flush.wait(), self.back_off * 2 ** min(tries, 6))
                except TimeoutError:
                    tries += 1
            del self._queue[: len(batch)]
            self.pushed += len(batch)

    async def _put(self, txn: int, batch: list[Json]) -> bool:
        url = f"{self.service}/_matrix/app/v1/transactions/{txn}"
        headers = {"Authorization": f"Bearer {self.registration['hs_token']}"}
        try:
            async with self._http.put(url, json={"events": batch}, headers=headers) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    # --- from the service ----------------------------------------------------------------------

    async def _called(self, request: web.Request) -> web.StreamResponse:
        path = unquote(request.raw_path.split("?")[0])
        raw = await request.read()
        try:
            body = json.loads(raw)
        except ValueError:
            body = {}
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        user = self._tokens.get(token) or request.query.get("user_id") or self.user("nobody")
        await asyncio.sleep(self.holds(body))
        for method, pattern, handler in self._routes:
            if method == request.method and (found := pattern.match(path)):
                answer = handler(user, body, dict(request.query), **found.groupdict())
                if asyncio.iscoroutine(answer):
                    answer = await answer
                status, told = answer if isinstance(answer, tuple) else (200, answer)
                return web.json_response(told, status=status)
        return web.json_response({"errcode": "M_UNRECOGNIZED", "error": path}, status=404)

    def user(self, localpart: str) -> str:
        return f"@{localpart}:{self.domain}"

    def _table(self) -> list[tuple[str, str, Callable[..., Any]]]:
        def nothing(*_: Any, **__: Any) -> Json:
            return {}

        return [
            ("POST", "/register", self._register),
            ("POST", "/login", self._login),
            ("POST", "/logout", nothing),
            ("GET", "/account/whoami", lambda user, *_: {"user_id": user}),
            ("GET", "/joined_rooms", self._joined_rooms),
            ("GET", "/sync", self._sync),
            ("POST", "/upload", lambda *_: {"content_uri": f"mxc://{self.domain}/picture"}),
            ("PUT", "/profile/[^/]+/[^/]+", nothing),
            ("POST", "/appservice/[^/]+/ping", self._ping),
            ("GET", "/directory/room/[^/]+", lambda *_: _error(404, "M_NOT_FOUND")),
            ("PUT", "/directory/room/[^/]+", nothing),
            ("POST", "/createRoom", lambda user, *_: {"room_id": self.make_room(user)}),
            ("PUT", f"{_ROOM}/(?:send|redact)/(?P<kind>[^/]+)/(?P<txn>[^/]+)", self._send),
            ("PUT", f"{_ROOM}/typing/[^/]+", nothing),
            ("POST", f"{_ROOM}/receipt/[^/]+/[^/]+", nothing),
            ("POST", f"{_ROOM}/join", self._join),
            ("POST", f"{_ROOM}/leave", self._leave),
            ("POST", f"{_ROOM}/invite", nothing),
            ("GET", f"{_ROOM}/state", lambda *_, room: [*self.rooms[room].state.values()]),
            ("GET", f"{_ROOM}/state/(?P<kind>[^/]+)/?", self._get_state),
            ("PUT", f"{_ROOM}/state/(?P<kind>[^/]+)/?", self._set_state),
            ("GET", f"{_ROOM}/event/(?P<event>[^/]+)", self._event),
            ("GET", f"{_ROOM}/messages", self._messages),
        ]

    def _register(self, user: str, body: Json, _: Json) -> Any:
        name = self.user(body["username"])
        if name in self._users:
            return _error(400, "M_USER_IN_USE")
        self._users.add(name)
        return {"user_id": name}

    def _login(self, user: str, body: Json, _: Json) -> Json:
        token = f"token{next(self._numbers)}"
        self._tokens[token] = body["identifier"]["user"]
        return {"access_token": token, "user_id": body["identifier"]["user"]}

    async def _ping(self, *_: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.registration['hs_token']}"}
        url = f"{self.service}/_matrix/app/v1/ping"
        try:
            async with self._http.post(url, json={}, headers=headers) as answer:
                if answer.status != 200:
                    return _error(502, "M_BAD_STATUS")
        except (aiohttp.ClientError, TimeoutError):
            return _error(502, "M_CONNECTION_FAILED")
        if flush := getattr(self, "_flush", None):
            flush.set()
        return {"duration_ms": 1}

    def _joined_rooms(self, user: str, *_: Any) -> Json:
        return {"joined_rooms": [key for key, room in self.rooms.items() if user in room.joined()]}

    def _sync(self, user: str, *_: Any) -> Json:
        rooms: Json = {"join": {}, "invite": {}}
        for key, room in self.rooms.items():
            if room.membership(user) == "join":
                start = max(0, len(room.events) - 50)
                rooms["join"][key] = {"timeline": {
                    "events": room.events[start:], "limited": start > 0, "prev_batch": f"t{start}",
                }}  # fmt: skip
            elif room.membership(user) == "invite":
                rooms["invite"][key] = {"invite_state": {"events": [*room.state.values()]}}
        return {"next_batch": "t", "rooms": rooms}

    def _send(self, user: str, body: Json, _: Json, room: str, kind: str, txn: str) -> Any:
        key = (user, f"{room} {kind} {txn}")
        if key in self._answers:
            self.repeated += 1
            return self._answers[key]
        if user not in self.rooms[room].joined():
            return _error(403, "M_FORBIDDEN")
        if not kind.startswith("m."):
            kind, body = "m.room.redaction", {**body, "redacts": kind}
        self._answers[key] = {"event_id": self.add(room, user, kind, body)}
        return self._answers[key]

    def _join(self, user: str, *_: Any, room: str) -> Any:
        if room not in self.rooms:
            return _error(404, "M_NOT_FOUND")
        if user not in self.rooms[room].joined():
            self.add(room, user, "m.room.member", {"membership": "join"}, user)
        return {"room_id": room}

    def _leave(self, user: str, *_: Any, room: str) -> Json:
        self.add(room, user, "m.room.member", {"membership": "leave"}, user)
        return {}

    def _get_state(self, *_: Any, room: str, kind: str) -> Any:
        event = self.rooms[room].state.get((kind, ""))
        return event["content"] if event else _error(404, "M_NOT_FOUND")

    def _set_state(self, user: str, body: Json, _: Json, room: str, kind: str) -> Json:
        return {"event_id": self.add(room, user, kind, body, "")}

    def _event(self, *_: Any, room: str, event: str) -> Any:
        found = [e for e in self.rooms[room].events if e["event_id"] == event]
        return found[0] if found else _error(404, "M_NOT_FOUND")

    def _messages(self, _: str, __: Json, query: Json, room: str) -> Json:
        events = self.rooms[room].events
        end = int(query["from"][1:]) if query.get("from", "").startswith("t") else len(events)
        start = max(0, end - int(query.get("limit", 10)))
        page = {"chunk": events[start:end][::-1], "start": f"t{end}"}
        return page | ({"end": f"t{start}"} if start else {})


def _error(status: int, errcode: str) -> tuple[int, Json]:
    return status, {"errcode": errcode, "error": errcode}
