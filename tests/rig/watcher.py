"""A human's eyes: a real /sync long poll, and readable ways to wait for what it brings."""

import asyncio
import json
import re

import aiohttp

from tests.rig.api import Api, Json, Refused
from tests.rig.timeline import Answer, Timeline
from tests.rig.waiting import PATIENCE, Waiting

OURS = re.compile(r"@c?memtrix(_[a-z0-9._=/+-]+)?:")
FILTER = {"room": {"timeline": {"limit": 100}, "include_leave": True}, "presence": {"types": []}}


class Watcher(Waiting):
    """Sees rooms; hands out each agent's answers and notices once, in order."""

    def __init__(self, api: Api, user_id: str) -> None:
        super().__init__()
        self.api, self.user_id = api, user_id
        self.rooms: dict[str, Timeline] = {}
        self.invited: dict[str, str] = {}  # room -> who invited
        self._taken: set[tuple[str, str]] = set()
        self._task: asyncio.Task[None] | None = None

    async def open_eyes(self) -> None:
        """Begin to watch; everything after this call is seen."""
        first = await self._poll(None)
        self._task = asyncio.create_task(self._watch(first))

    async def close_eyes(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def timeline(self, room: str) -> Timeline:
        return self.rooms.setdefault(room, Timeline(room))

    def events(self, room: str, kind: str | None = None) -> list[Json]:
        """All events seen in the room, or those of one type."""
        return [e for e in self.timeline(room).events if kind in (None, e["type"])]

    def picture(self) -> str:
        ended = self._task and self._task.done() and not self._task.cancelled()
        trouble = f"  the watch ended: {self._task.exception()!r}\n" if ended and self._task else ""
        return trouble + "\n".join(room.picture() for room in self.rooms.values())

    def said(self, room: str, sender: str | None = None) -> list[Answer]:
        """Every message of an agent (or of `sender`) as it stands now: drafts and notices too."""
        return self.timeline(room).messages(
            lambda who: who == sender if sender else bool(OURS.match(who))
        )

    def replies(self, room: str, sender: str | None = None) -> list[str]:
        """The agents' finished words so far."""
        return [a.text for a in self.said(room, sender) if a.final and a.msgtype == "m.text"]

    def notices(self, room: str, sender: str | None = None) -> list[str]:
        return [a.text for a in self.said(room, sender) if a.final and a.msgtype == "m.notice"]

    async def reply(self, room: str, sender: str | None = None, timeout: float = PATIENCE) -> str:
        """The next finished answer that was not handed out yet."""
        return (await self.answer(room, sender, timeout)).text

    async def answer(
        self, room: str, sender: str | None = None, timeout: float = PATIENCE
    ) -> Answer:
        """Like `reply`, with everything that belongs to the message."""
        return await self._next(room, sender, "m.text", timeout)

    async def notice(self, room: str, sender: str | None = None, timeout: float = PATIENCE) -> str:
        """The next finished notice that was not handed out yet."""
        return (await self._next(room, sender, "m.notice", timeout)).text

    async def _next(self, room: str, sender: str | None, msgtype: str, timeout: float) -> Answer:
        def found() -> Answer | None:
            for said in self.said(room, sender):
                if said.msgtype == msgtype and (room, said.event_id) not in self._taken:
                    return said if said.final else None
            return None

        answer = await self.until(found, f"the next {msgtype} for {self.user_id}", timeout)
        self._taken.add((room, answer.event_id))
        return answer

    async def draft(self, room: str, timeout: float = PATIENCE) -> str:
        """The text of an answer on its way, as soon as there is one."""

        def found() -> str | None:
            return next((a.text for a in self.said(room) if not a.final and a.text), None)

        return await self.until(found, "a draft", timeout)

    async def quiet(self, room: str, seconds: float = 0.5) -> None:
        """Nothing comes from an agent in this time. Prefer a second message as a fence."""
        before = [(a.event_id, a.text) for a in self.said(room)]
        await asyncio.sleep(seconds)
        now = [(a.event_id, a.text) for a in self.said(room)]
        assert now == before, f"expected nothing new, saw {now[len(before) :] or now}"

    async def sees_typing(self, room: str, agent: str) -> None:
        await self.until(lambda: agent in self.timeline(room).typed, f"{agent} typing")

    async def sees_no_typing(self, room: str, agent: str) -> None:
        await self.until(lambda: agent not in self.timeline(room).typing, f"{agent} not typing")

    async def sees_receipt(self, room: str, agent: str, event_id: str) -> None:
        await self.until(
            lambda: (agent, event_id) in self.timeline(room).read, f"{agent}'s receipt"
        )

    async def sees_member(self, room: str, user: str, membership: str = "join") -> None:
        await self.until(
            lambda: self.timeline(room).membership(user) == membership,
            f"{user} to be {membership!r} in {room}",
        )

    async def sees_event(self, room: str, event_id: str) -> Json:
        def found() -> Json | None:
            return next((e for e in self.events(room) if e["event_id"] == event_id), None)

        return await self.until(found, f"event {event_id}")

    async def _watch(self, since: str) -> None:
        while True:
            try:
                since = await self._poll(since)
            except (aiohttp.ClientError, Refused) as exc:
                if isinstance(exc, Refused) and exc.status < 500:
                    raise
                await asyncio.sleep(0.05)  # the homeserver is being restarted

    async def _poll(self, since: str | None) -> str:
        params = {"filter": json.dumps(FILTER), "timeout": "30000" if since else "0"}
        if since:
            params["since"] = since
        seen = await self.api.call("GET", "/sync", **params)
        rooms = seen.get("rooms", {})
        for room_id, part in {**rooms.get("leave", {}), **rooms.get("join", {})}.items():
            await self._take(self.timeline(room_id), part, since)
        for room_id, part in rooms.get("invite", {}).items():
            for event in part["invite_state"]["events"]:
                if event.get("state_key") == self.user_id:
                    self.invited[room_id] = event["sender"]
        self.changed()
        return str(seen["next_batch"])

    async def _take(self, room: Timeline, part: Json, since: str | None) -> None:
        timeline = part.get("timeline", {"events": []})
        missed = await self._missed(room, timeline) if since and timeline.get("limited") else []
        for event in part.get("state", {}).get("events", []):
            if event["event_id"] not in room.known:  # Synapse repeats what was, where events forked
                room.add_state(event)
        for event in [*missed, *timeline["events"]]:
            room.add(event)
        for event in part.get("ephemeral", {}).get("events", []):
            room.add_ephemeral(event)

    async def _missed(self, room: Timeline, timeline: Json) -> list[Json]:
        """What a limited sync has left out, oldest first."""
        path, start, missed = f"/rooms/{room.room_id}/messages", timeline["prev_batch"], []
        while start:
            page = await self.api.call("GET", path, dir="b", limit="100", **{"from": start})
            fresh = [e for e in page["chunk"] if e["event_id"] not in room.known]
            missed += fresh
            start = page.get("end") if len(fresh) == len(page["chunk"]) else None
        return missed[::-1]
