"""A conversation: one human, one room, one agent in mind. Tests read like chats with it."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from tests.rig.api import Json
from tests.rig.human import Human
from tests.rig.timeline import Answer


@dataclass
class Chat:
    """What `human` does and sees in `room`."""

    human: Human
    room: str
    agent: str

    async def send(self, text: str, **how: Any) -> str:
        """Say something; returns the event id."""
        return await self.human.send(self.room, text, **how)

    async def says(self, *texts: str) -> list[str]:
        """Say several things, one right after the other."""
        return [await self.send(text) for text in texts]

    async def ask(self, text: str, **how: Any) -> str:
        """Say something and wait for the answer to it."""
        await self.send(text, **how)
        return await self.reply()

    async def reply(self, **how: Any) -> str:
        return await self.human.reply(self.room, **how)

    async def answer(self, **how: Any) -> Answer:
        return await self.human.answer(self.room, **how)

    async def notice(self, **how: Any) -> str:
        return await self.human.notice(self.room, **how)

    async def draft(self) -> str:
        return await self.human.draft(self.room)

    def replies(self) -> list[str]:
        return self.human.replies(self.room)

    def notices(self) -> list[str]:
        return self.human.notices(self.room)

    def said(self) -> list[Answer]:
        return self.human.said(self.room)

    def events(self, kind: str | None = None) -> list[Json]:
        return self.human.events(self.room, kind)

    async def edit(self, event_id: str, text: str) -> str:
        return await self.human.edit(self.room, event_id, text)

    async def redact(self, event_id: str) -> None:
        await self.human.redact(self.room, event_id)

    async def quiet(self, seconds: float = 0.5) -> None:
        await self.human.quiet(self.room, seconds)

    async def sees_member(self, user: str, membership: str = "join") -> None:
        await self.human.sees_member(self.room, user, membership)

    def until(self, condition: Any, what: str, **how: Any) -> Awaitable[Any]:
        return self.human.until(condition, what, **how)
