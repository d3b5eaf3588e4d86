"""A person with a Matrix client: does what people do, sees what they see."""

import itertools
from typing import Any
from urllib.parse import quote

from tests.rig.api import Json
from tests.rig.watcher import Watcher

ENCRYPTED = {
    "type": "m.room.encryption",
    "state_key": "",
    "content": {"algorithm": "m.megolm.v1.aes-sha2"},
}


class Human(Watcher):
    """One account, logged in on one device. `room` is always a room id."""

    _numbers = itertools.count()

    @property
    def name(self) -> str:
        return self.user_id[1:].split(":")[0]

    async def create_room(
        self,
        *invite: str,
        is_direct: bool = False,
        preset: str = "private_chat",
        version: str | None = None,
        encrypted: bool = False,
    ) -> str:
        body: Json = {"invite": list(invite), "is_direct": is_direct, "preset": preset}
        if version:
            body["room_version"] = version
        if encrypted:
            body["initial_state"] = [ENCRYPTED]
        room = str((await self.api.call("POST", "/createRoom", body))["room_id"])
        self.timeline(room)
        return room

    async def _member(self, room: str, what: str, body: Json) -> None:
        await self.api.call("POST", f"/rooms/{quote(room)}/{what}", body)

    async def invite(self, room: str, user: str) -> None:
        await self._member(room, "invite", {"user_id": user})

    async def join(self, room: str) -> None:
        await self.until(lambda: room in self.invited, f"an invite of {self.user_id} to {room}")
        await self._member(room, "join", {})

    async def leave(self, room: str) -> None:
        await self._member(room, "leave", {})

    async def kick(self, room: str, user: str, reason: str = "enough") -> None:
        await self._member(room, "kick", {"user_id": user, "reason": reason})

    async def ban(self, room: str, user: str, reason: str = "enough") -> None:
        await self._member(room, "ban", {"user_id": user, "reason": reason})

    async def unban(self, room: str, user: str) -> None:
        await self._member(room, "unban", {"user_id": user})

    async def send_event(self, room: str, kind: str, content: Json) -> str:
        txn = f"t{next(self._numbers)}"
        path = f"/rooms/{quote(room)}/send/{kind}/{txn}"
        return str((await self.api.call("PUT", path, content))["event_id"])

    async def set_state(self, room: str, kind: str, content: Json, key: str = "") -> str:
        path = f"/rooms/{quote(room)}/state/{kind}/{quote(key)}"
        return str((await self.api.call("PUT", path, content))["event_id"])

    async def send(
        self,
        room: str,
        text: str,
        *,
        thread: str | None = None,
        reply_to: str | None = None,
        mentions: tuple[str, ...] = (),
        html: str | None = None,
        msgtype: str = "m.text",
        **extra: Any,
    ) -> str:
        """Send a message as Element would; returns its event id."""
        content: Json = {"msgtype": msgtype, "body": text, "m.mentions": {}, **extra}
        if mentions:
            content["m.mentions"] = {"user_ids": list(mentions)}
        if html:
            content |= {"format": "org.matrix.custom.html", "formatted_body": html}
        relates: Json = {}
        if thread:
            relates = {"rel_type": "m.thread", "event_id": thread, "is_falling_back": True}
        if thread or reply_to:
            relates["m.in_reply_to"] = {"event_id": reply_to or thread}
            content["m.relates_to"] = relates
        if thread and reply_to:
            relates["is_falling_back"] = False
        return await self.send_event(room, "m.room.message", content)

    async def edit(self, room: str, event_id: str, text: str) -> str:
        new = {"msgtype": "m.text", "body": text, "m.mentions": {}}
        relates = {"rel_type": "m.replace", "event_id": event_id}
        content = {**new, "body": f"* {text}", "m.new_content": new, "m.relates_to": relates}
        return await self.send_event(room, "m.room.message", content)

    async def redact(self, room: str, event_id: str) -> None:
        path = f"/rooms/{quote(room)}/redact/{quote(event_id)}/t{next(self._numbers)}"
        await self.api.call("PUT", path, {})

    async def react(self, room: str, event_id: str, key: str) -> str:
        relates = {"rel_type": "m.annotation", "event_id": event_id, "key": key}
        return await self.send_event(room, "m.reaction", {"m.relates_to": relates})

    async def upload(self, data: bytes, mimetype: str, name: str) -> str:
        answer = await self.api.call(
            "POST", "/_matrix/media/v3/upload", data, content_type=mimetype, filename=name
        )
        return str(answer["content_uri"])

    async def send_file(
        self, room: str, name: str, data: bytes, mimetype: str, caption: str | None = None
    ) -> str:
        url = await self.upload(data, mimetype, name)
        kind = mimetype.split("/")[0]
        content: Json = {
            "msgtype": f"m.{kind}" if kind in ("image", "audio", "video") else "m.file",
            "body": caption or name,
            "filename": name,
            "url": url,
            "info": {"mimetype": mimetype, "size": len(data)},
        }
        return await self.send_event(room, "m.room.message", content)

    async def typing(self, room: str, on: bool = True) -> None:
        path = f"/rooms/{quote(room)}/typing/{quote(self.user_id)}"
        await self.api.call("PUT", path, {"typing": on, "timeout": 5000} if on else {"typing": on})
