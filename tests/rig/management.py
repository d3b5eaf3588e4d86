"""The management room on a real homeserver: the way into it, and what is typed there."""

from urllib.parse import quote

from tests.rig.chat import Chat
from tests.rig.door import Door
from tests.rig.human import Human
from tests.rig.service import Service
from tests.rig.settings import DOMAIN
from tests.rig.stage import Stage


async def point_alias(door: Door, room_id: str) -> None:
    """Let the alias lead to another room."""
    sender = door.user(door.registration["sender_localpart"])
    path = f"/directory/room/{quote(door.alias)}"
    await door.api.call("PUT", path, {"room_id": room_id}, user_id=sender)


def admins(service: Service, *people: Human) -> None:
    """Before the start: these are administrators, everybody else here may chat."""
    service.permit(**{human.user_id: "admin" for human in people}, **{DOMAIN: "user"})


async def enter(stage: Stage, human: Human) -> Chat:
    """Take the invitation into the management room."""

    def asked() -> str | None:
        return next((r for r, by in human.invited.items() if by == stage.agent), None)

    room = await human.until(asked, "an invitation into the management room")
    await human.join(room)
    await human.sees_member(room, human.user_id)
    await human.sees_member(room, stage.agent)
    return Chat(human, room, stage.agent)


async def types(chat: Chat, text: str) -> str:
    """Type a command, and what is said to it."""
    await chat.send(text)
    return await chat.notice()


async def confirms(chat: Chat, command: str) -> str:
    """Type a dangerous command and say yes; what came of it."""
    assert "No answer until" in await types(chat, command)
    return await types(chat, "yes")
