"""What a test plays on: a door, people, rooms; and how all of it is cleared away afterwards."""

import asyncio
import itertools

from tests.rig.api import Refused
from tests.rig.chat import Chat
from tests.rig.database import Database
from tests.rig.door import Door
from tests.rig.homeserver import Homeserver
from tests.rig.human import Human
from tests.rig.settings import MODEL
from tests.rig.watcher import OURS

_numbers = itertools.count(1)


class Stage:
    """One test's part of the shared servers."""

    def __init__(self, homeserver: Homeserver, database: Database, door: Door) -> None:
        self.homeserver, self.database, self.door = homeserver, database, door
        self.people: list[Human] = []

    @property
    def agent(self) -> str:
        """The main agent's user id."""
        return self.door.user(self.door.registration["id"])

    async def person(self, name: str = "ann") -> Human:
        """A new account with open eyes."""
        http = self.door.api.http
        user_id, token = await self.homeserver.account(http, f"{name}{next(_numbers)}")
        human = Human(self.homeserver.api(http, token), user_id)
        await human.open_eyes()
        self.people.append(human)
        return human

    async def second_agent(self, name: str = "dennis") -> str:
        """Another agent, made before the service starts; returns its user id."""
        user = self.door.user(f"{self.door.registration['id']}_{name}")
        await self.database.fetch(
            "insert into agents (name, user_id, display_name, model) values ($1, $2, $3, $4)",
            *(name, user, name.title(), MODEL),
        )
        return user

    async def group(self, *agents: str, humans: int = 2) -> list[Chat]:
        """One room as each of its humans sees it; all have come in."""
        people = [await self.person(name) for name in ("ann", "ben", "cem")[:humans]]
        agents = agents or (self.agent,)
        room = await people[0].create_room(*agents, *(human.user_id for human in people[1:]))
        for human in people[1:]:
            await human.join(room)
        for user in (*agents, *(human.user_id for human in people)):
            await people[0].sees_member(room, user)
        return [Chat(human, room, self.agent) for human in people]

    async def chat(self, human: Human | None = None, **room: object) -> Chat:
        """A direct room of a human with the main agent, which has come in."""
        human = human or await self.person()
        options = {"is_direct": True, **room}
        room_id = await human.create_room(self.agent, **options)  # type: ignore[arg-type]
        await human.sees_member(room_id, self.agent)
        return Chat(human, room_id, self.agent)

    async def clear(self) -> None:
        """The service has stopped: take its agents out of the rooms and forget what it knew."""
        self.door.heal()
        agents = {
            (user, room.room_id)
            for human in self.people
            for room in human.rooms.values()
            for kind, user in room.state
            if kind == "m.room.member" and OURS.match(user)
        }
        agents |= {(self.agent, room) for room in await self._rooms_of(self.agent)}
        await self.door.remove_alias()
        await asyncio.gather(*(self._leave(*gone) for gone in agents))
        await asyncio.gather(*(human.close_eyes() for human in self.people))
        await self.door.drain()
        await self.database.empty()

    async def _rooms_of(self, user: str) -> list[str]:
        """Its rooms, the management room among them."""
        try:
            answer = await self.door.api.call("GET", "/joined_rooms", user_id=user)
        except Refused:
            return []  # it was never made
        return list(answer["joined_rooms"])

    async def _leave(self, user: str, room: str) -> None:
        try:
            await self.door.api.call("POST", f"/rooms/{room}/leave", {}, user_id=user)
        except Refused:
            pass  # it has left already, or was banned
