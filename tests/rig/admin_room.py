"""A new Conduit as its first administrator finds it: no service registered, `@conduit` in #admins.

The homeserver behind it is Synapse, which keeps accounts and rooms; who is registered is decided
here, by what is said in the admin room. Rules: facts of Conduit 0.10/0.11 (`service/admin/mod.rs`).
"""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tests.rig.api import Api, Json, Refused
from tests.rig.door import Call, Door
from tests.rig.homeserver import PASSWORD, Homeserver
from tests.rig.human import Human

NEEDED = ("id", "url", "as_token", "hs_token", "sender_localpart", "namespaces")
TOKEN = "open sesame"  # what a new account needs


@dataclass
class Manners:
    """How this server's admin room wants to be spoken to, and answers."""

    command: re.Pattern[str]
    info_string: bool  # "```yaml" is taken too
    dot: str = ""
    parse: str = "Could not parse appservice config as YAML"
    replaces: bool = True  # a registration with the same id


CONDUIT = Manners(
    re.compile(r"@conduit:hs\.test:? register[-_]appservice$"), False, ".",
    "Could not parse appservice config",
)  # fmt: skip
TUWUNEL = Manners(re.compile(r"!admin appservices register$"), True, replaces=False)


@dataclass
class AdminRoom:
    """The room, and `@conduit` who answers in it."""

    conduit: Human
    room: str
    manners: Manners
    silent: bool = False
    chatter: str = ""  # what it says first, to somebody else
    registered: dict[str, Json] = field(default_factory=dict)
    answered: int = 0

    async def serve(self) -> None:
        """Runs until it is cancelled."""
        while True:
            heard = [
                e for e in self.conduit.events(self.room, "m.room.message") if self._command(e)
            ]
            for event in heard[self.answered :]:
                self.answered += 1
                if self.chatter:
                    await self.conduit.send(self.room, self.chatter)
                if not self.silent:
                    await self.conduit.send(self.room, self.reply(event["content"]["body"]))
            await asyncio.sleep(0.02)

    def _command(self, event: Json) -> bool:
        first = event["content"].get("body", "").split("\n")[0]
        return bool(self.manners.command.match(first))

    def reply(self, body: str) -> str:
        _, *lines = [line for line in body.split("\n") if line.strip()]
        fences = ("```", "```yaml") if self.manners.info_string else ("```",)
        if len(lines) < 3 or lines[0].strip() not in fences or lines[-1].strip() != "```":
            return "Expected code block in command body. Add --help for details."
        try:
            given = YAML(typ="safe").load("\n".join(lines[1:-1]))
            missing = [key for key in NEEDED if key not in given]
            if missing:
                return f"{self.manners.parse}: missing field `{missing[0]}`"
            [re.compile(entry["regex"]) for entry in given["namespaces"]["users"]]
        except (YAMLError, TypeError):
            return f"{self.manners.parse}: did not find expected key"
        except re.error as exc:
            return f"Failed to register appservice: regex parse error: {exc}"
        if given["id"] in self.registered and not self.manners.replaces:
            return f"Failed to register appservice: Duplicate id: {given['id']}"
        self.registered[given["id"]] = given
        return f"Appservice registered with ID: {given['id']}{self.manners.dot}"

    def redacted(self) -> bool:
        """Whether every command that was sent is empty now."""
        events = self.conduit.timeline(self.room).events
        gone = {e.get("redacts") or e["content"].get("redacts") for e in events}
        sent = [e["event_id"] for e in events if e["type"] == "m.room.message" and self._command(e)]
        return bool(sent) and set(sent) <= gone


class NewConduit(Door):
    """The door of such a server."""

    def __init__(self, homeserver: Homeserver, http: aiohttp.ClientSession, port: int) -> None:
        api = homeserver.api(http)
        super().__init__(api, {"as_token": "", "hs_token": "", "id": ""}, "hs.test", port)
        self.homeserver = homeserver
        self.admins: AdminRoom
        self._users: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self, manners: Manners = CONDUIT) -> AdminRoom:
        await self.open()
        api = self.homeserver.api(self.api.http)
        await self.homeserver.register_user("conduit", PASSWORD)
        login = {"type": "m.login.password", "password": PASSWORD}
        who = {"identifier": {"type": "m.id.user", "user": "conduit"}}
        token = (await api.call("POST", "/login", login | who))["access_token"]
        conduit = Human(self.homeserver.api(self.api.http, token), "@conduit:hs.test")
        await conduit.open_eyes()
        await self._forget_room(conduit.api)
        body = {"preset": "private_chat", "room_alias_name": "admins"}
        room = (await conduit.api.call("POST", "/createRoom", body))["room_id"]
        conduit.timeline(room)
        self.admins = AdminRoom(conduit, room, manners)
        self._task = asyncio.create_task(self.admins.serve())
        return self.admins

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.admins.conduit.close_eyes()
        await self._forget_room(self.admins.conduit.api)
        await self.close()

    async def _forget_room(self, api: Api) -> None:
        try:
            await api.call("DELETE", f"/directory/room/{quote('#admins:hs.test')}")
        except Refused:
            pass

    async def admit(self, human: Human) -> None:
        """Make somebody an administrator."""
        await self.admins.conduit.invite(self.admins.room, human.user_id)
        await human.join(self.admins.room)

    async def _pass(self, request: web.Request, call: Call) -> web.Response:
        if call.path.endswith("/v3/register") and not call.token:
            return await self._new_account(call)
        mine = [r for r in self.admins.registered.values() if r["as_token"] == call.token]
        if not mine and not call.token.startswith("syt_") and call.token:
            return _error(401, "M_UNKNOWN_TOKEN", "Unknown access token.")
        if not mine:
            return await super()._pass(request, call)
        if call.path.endswith("/register"):
            self._users.add(self.user(call.json["username"]))
            return web.json_response({"user_id": self.user(call.json["username"])})
        if call.user_id not in self._users:
            return _error(403, "M_FORBIDDEN", "User does not exist.")
        if call.path.endswith("/ping"):
            return await self._ping(mine[0], call)
        return web.json_response({"user_id": call.user_id})

    async def _ping(self, registration: Json, call: Call) -> web.Response:
        url = f"{registration['url']}/_matrix/app/v1/ping"
        headers = {"Authorization": f"Bearer {registration['hs_token']}"}
        try:
            async with self.api.http.post(url, json=call.json, headers=headers) as answer:
                if answer.status != 200:
                    return _error(502, "M_BAD_STATUS", f"Ping returned {answer.status}")
        except aiohttp.ClientError:
            return _error(502, "M_CONNECTION_FAILED", "Connection refused")
        return web.json_response({"duration_ms": 1})

    async def _new_account(self, call: Call) -> web.Response:
        """The first account: wants the registration token, and becomes an administrator."""
        flows: dict[str, Any] = {
            "flows": [{"stages": ["m.login.registration_token"]}], "params": {}, "session": "s1",
        }  # fmt: skip
        auth = call.json.get("auth")
        if auth is None:
            return web.json_response(flows, status=401)
        if auth.get("token") != TOKEN or auth.get("session") != "s1":
            return web.json_response(flows | {"completed": []}, status=401)
        name, password = call.json["username"], call.json["password"]
        if not await self.homeserver.register_user(name, password):
            return _error(400, "M_USER_IN_USE", "Desired user ID is already taken.")
        who = {"identifier": {"type": "m.id.user", "user": name}}
        login = {"type": "m.login.password", "password": password} | who
        told = await self.homeserver.api(self.api.http).call("POST", "/login", login)
        human = Human(self.homeserver.api(self.api.http, told["access_token"]), told["user_id"])
        await self.admins.conduit.invite(self.admins.room, human.user_id)
        await human.api.call("POST", f"/rooms/{quote(self.admins.room)}/join", {})
        return web.json_response(told)


def _error(status: int, errcode: str, text: str) -> web.Response:
    return web.json_response({"errcode": errcode, "error": text}, status=status)
