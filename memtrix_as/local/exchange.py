"""One real conversation over Matrix: what a quick start proves itself with."""

import asyncio
import json
import time
from typing import Any
from urllib.parse import quote

import aiohttp

from memtrix_as.errors import LocalPartError

QUIET = 2.0  # seconds without an edit and without typing: the answer is complete


class Human:
    """A logged-in human at `address`; use as `async with`."""

    def __init__(self, address: str, user_id: str, password: str) -> None:
        self.user_id = user_id
        self._address = address
        self._password = password
        self._session = aiohttp.ClientSession()
        self._token = ""

    async def __aenter__(self) -> "Human":
        try:
            await self._login()
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._call("POST", "logout", {})  # leaves no device that nobody knows
        except (aiohttp.ClientError, LocalPartError):
            pass
        finally:
            await self._session.close()

    async def _login(self) -> None:
        identifier = {"type": "m.id.user", "user": self.user_id}
        login = {
            "type": "m.login.password",
            "identifier": identifier,
            "password": self._password,
            "initial_device_display_name": "quickstart",
        }
        self._token = (await self._call("POST", "login", login))["access_token"]

    async def _call(self, method: str, path: str, body: Any = None, **query: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        url = f"{self._address}/_matrix/client/v3/{path}"
        async with self._session.request(
            method, url, json=body, params=query, headers=headers
        ) as answer:
            told: dict[str, Any] = await answer.json(content_type=None)
            if answer.status >= 400:
                raise LocalPartError(
                    f"The homeserver refused {path.split('/')[0]} for {self.user_id}: "
                    f"{told.get('error', answer.status)}. If you have changed the password, "
                    "write the new one into data/quickstart.json."
                )
            return told

    async def open_room(self, other: str, patience: float = 60.0) -> str:
        """A direct chat with `other`, known as one to every client; returns when both are in."""
        body = {"preset": "trusted_private_chat", "is_direct": True, "invite": [other]}
        room_id = str((await self._call("POST", "createRoom", body))["room_id"])
        path = f"user/{quote(self.user_id)}/account_data/m.direct"
        direct = (await self._sync())["account_data"]["events"]
        known: dict[str, Any] = next((e["content"] for e in direct if e["type"] == "m.direct"), {})
        await self._call("PUT", path, known | {other: [*known.get(other, ()), room_id]})
        deadline = time.monotonic() + patience
        # A homeserver does not tell an application service what was said before it came in.
        while (
            other
            not in (await self._call("GET", f"rooms/{quote(room_id)}/joined_members"))["joined"]
        ):
            if time.monotonic() > deadline:
                raise LocalPartError(
                    f"{other} has not accepted the invitation of {self.user_id}; "
                    "see data/memtrix.log."
                )
            await asyncio.sleep(0.1)
        return room_id

    async def _sync(self) -> dict[str, Any]:
        """What there is now; without anything that grows with the history."""
        few = json.dumps({"room": {"timeline": {"limit": 1}, "state": {"lazy_load_members": True}}})
        return await self._call("GET", "sync", filter=few)

    async def ask(self, room_id: str, other: str, text: str, patience: float) -> str:
        """The whole answer of `other`; LocalPartError with what it said instead, or nothing."""
        since = (await self._sync())["next_batch"]
        path = f"rooms/{quote(room_id)}/send/m.room.message/{time.time_ns()}"
        await self._call("PUT", path, {"msgtype": "m.text", "body": text})
        listener = Listener(other)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and not listener.gave_up:
            told = await self._call("GET", "sync", since=since, timeout="1000")
            since = told["next_batch"]
            if room := told.get("rooms", {}).get("join", {}).get(room_id):
                listener.hear(room)
            if listener.complete:
                return listener.answer
            await asyncio.sleep(0)
        if listener.notice:
            raise LocalPartError(f"{other} cannot answer: {listener.notice}")
        raise LocalPartError(
            f"{other} has not answered within {patience:.0f} s; see data/memtrix.log."
        )


class Listener:
    """Follows one answer through its edits."""

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self._typing = False
        self._changed = time.monotonic()
        self.answer = ""
        self.notice = ""

    def hear(self, room: dict[str, Any]) -> None:
        for event in room.get("ephemeral", {}).get("events", ()):
            if event["type"] == "m.typing":
                self._typing = self._sender in event["content"].get("user_ids", ())
        for event in room.get("timeline", {}).get("events", ()):
            if event["type"] != "m.room.message" or event["sender"] != self._sender:
                continue
            content = event["content"].get("m.new_content") or event["content"]
            body = str(content.get("body", "")).strip()
            self._changed = time.monotonic()
            if content.get("msgtype") == "m.notice":
                self.notice = body
            elif body:
                self.answer = body

    @property
    def complete(self) -> bool:
        return bool(self.answer) and self._silent(QUIET)

    @property
    def gave_up(self) -> bool:
        """It told an error, and nothing came after that."""
        return bool(self.notice) and self._silent(5 * QUIET)

    def _silent(self, seconds: float) -> bool:
        return not self._typing and time.monotonic() - self._changed > seconds
