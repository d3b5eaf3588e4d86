"""Coming into rooms and learning who is there: the inbox kinds that only Matrix knows."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from memtrix_as.db import inbox, outbox, queue, rooms
from memtrix_as.db.inbox import Item
from memtrix_as.db.pool import Pool
from memtrix_as.errors import HomeserverError
from memtrix_as.matrix.appservice import Store
from memtrix_as.matrix.client import Client, patiently
from memtrix_as.matrix.event import content_of, display_name
from memtrix_as.matrix.intake import World
from memtrix_as.messages import Place

log = logging.getLogger(__name__)

LOOK_BACK = 100  # events
PREVIEWS = "org.matrix.room.preview_urls"
OPENED = "io.memtrix.opened"  # state of a room that we made: what for
RECENT = 600.0  # seconds; a room that we came into earlier was looked at then
ENCRYPTED = (
    "I cannot read encrypted messages. Please talk to me in a room without encryption: make a "
    "new room with encryption switched off, and invite me there."
)


def _just_now(event: Mapping[str, Any]) -> bool:
    sent_at = event.get("origin_server_ts")
    return isinstance(sent_at, int) and time.time() - sent_at / 1000 < RECENT


def plain(name: str) -> str:
    """A name in bold that nothing in it can end."""
    return f"**{name.replace('*', '').replace('`', '')}**"


def _direct(human: str, key: str) -> dict[str, Any]:
    """A direct room that is the human's as much as the agent's."""
    return {
        "preset": "trusted_private_chat",
        "is_direct": True,
        "invite": [human],
        "initial_state": [
            {"type": OPENED, "state_key": "", "content": {"by": key}},
            {"type": PREVIEWS, "state_key": "", "content": {"disable": True}},
        ],
    }


class Rooms:
    """Handles invitations, rooms that are new to us, and encrypted ones."""

    def __init__(
        self, pool: Pool, client: Client, store: Store, world: Callable[[], World]
    ) -> None:
        self._pool = pool
        self._client = client
        self._store = store
        self._world = world

    async def invited(self, item: Item) -> None:
        """Join as the invited agent."""
        user = str(item.payload["state_key"])
        try:
            await patiently(lambda: self._client.join(user, item.room_id))
        except HomeserverError as exc:
            log.warning("%s cannot join %s: %s", user, item.room_id, exc)
            return
        await self._no_previews(user, item.room_id)

    async def unwanted(self, item: Item) -> None:
        """Decline an invitation by somebody who may not talk to us, or of nobody; say so once."""
        user, inviter = str(item.payload["state_key"]), str(item.payload["sender"])
        if item.agent:
            log.warning("%s may not talk to %s (see `permissions`)", inviter, user)
            reason = f"{inviter} has no permission here; the owner can give it in `permissions`."
        else:
            reason = "There is no agent of this name any more."
        try:
            await patiently(lambda: self._client.leave(user, item.room_id, reason), tries=1)
        except HomeserverError as exc:
            log.warning("%s cannot decline %s: %s", user, item.room_id, exc)

    async def open(self, item: Item) -> None:
        """Open a room of an agent with the human who was asked about it, and say so."""
        world, human = self._world(), str(item.payload["human"])
        user = next((u for u, name in world.agents.items() if name == item.agent), None)
        name = world.display_names.get(item.agent, item.agent)
        if user is None or item.gone:
            words = f"I could not open a room with {plain(name)}: it was removed meanwhile."
        else:
            words = await self._opened(user, name, human, item)
        asker = str(item.payload["agent"])
        lane = inbox.turns(asker, item.room_id)
        async with self._pool.acquire() as connection, connection.transaction():
            await inbox.hold(connection, item.id)
            await outbox.say(connection, lane, Place(item.room_id, asker), words)
            await queue.wake(connection, lane)
            await inbox.finish(connection, item.id)

    async def _opened(self, user: str, name: str, human: str, item: Item) -> str:
        """Open it; what has come of that."""
        try:
            room_id = await self._opened_before(user, item) or await patiently(
                lambda: self._client.create_room(user, _direct(human, str(item.id)))
            )
        except HomeserverError as exc:
            log.warning("%s cannot open a room: %s", user, exc)
            return f"I could not open a room with {plain(name)}: {exc}"
        return f"{plain(name)} has invited you: [the room](https://matrix.to/#/{room_id})."

    async def _opened_before(self, user: str, item: Item) -> str | None:
        """The room that an earlier try has made, if one was cut short."""
        if item.attempts < 2:
            return None
        for room_id in await patiently(lambda: self._client.joined_rooms(user)):
            with suppress(HomeserverError):
                if (await self._client.state(user, room_id, OPENED)).get("by") == str(item.id):
                    return room_id
        return None

    async def settle(self, item: Item) -> None:
        """Learn who is in a room, then sort what came from it before we knew."""
        # A room that we have forgotten, with the database, may still have us.
        users = await rooms.agents_in(self._pool, item.room_id) or list(self._world().agents)
        for user in users:
            try:
                state = await patiently(
                    lambda user=user: self._client.room_state(user, item.room_id)  # type: ignore[misc]
                )
            except HomeserverError as exc:
                log.warning("%s cannot look into %s: %s", user, item.room_id, exc)
                continue
            await self._learn(item.room_id, state, await self._before(user, item.room_id))
            return
        async with self._pool.acquire() as connection:
            for item_id, _ in await rooms.waiting(connection, item.room_id):
                await inbox.finish(connection, item_id, "no agent of ours is in the room")

    async def _before(self, user: str, room_id: str) -> list[dict[str, Any]]:
        """What was said between our invitation and our coming in, oldest first.

        It is never pushed, since only a room that we are in is ours to hear of; and Element sends
        the first words of a direct chat together with the invitation.
        """
        try:
            events = await patiently(lambda: self._client.last_events(user, room_id, LOOK_BACK))
        except HomeserverError as exc:
            log.warning("Cannot see what was said in %s before we came: %s", room_id, exc)
            return []
        came: int | None = None
        for index, event in enumerate(events):
            membership = content_of(event).get("membership")
            if event.get("type") != "m.room.member" or event.get("state_key") != user:
                continue
            if membership == "join" and _just_now(event):
                came = index
            if membership == "invite" and came is not None:
                return [{**e, "room_id": room_id} for e in reversed(events[came:index])]
        return []  # nobody invited us, or that was long ago and is answered

    async def _learn(
        self, room_id: str, state: Iterable[dict[str, Any]], before: Sequence[dict[str, Any]]
    ) -> None:
        members: dict[str, str | None] = {}
        for event in state:
            content = event.get("content") if isinstance(event.get("content"), dict) else {}
            assert isinstance(content, dict)
            if event.get("type") == "m.room.member" and content.get("membership") == "join":
                members[str(event.get("state_key"))] = display_name(content)
        async with rooms.intake(self._pool) as connection:
            ids = [e["event_id"] for e in before if isinstance(e.get("event_id"), str)]
            new, _ = await rooms.note(connection, ids)
            missed = [e for e in before if e.get("event_id") in new]
            await rooms.learn(connection, room_id, members)
            waiting = await rooms.waiting(connection, room_id)
            # Its own row is not told apart by event id: the same event is routed once more now.
            for item_id, _ in waiting:
                await inbox.finish(connection, item_id)
            await self._store.route(connection, [*missed, *(event for _, event in waiting)])

    async def _no_previews(self, user: str, room_id: str) -> None:
        # A preview is a request from the homeserver to whatever address a message names.
        try:
            await self._client.set_state(user, room_id, PREVIEWS, {"disable": True})
        except HomeserverError as exc:
            log.info("URL previews stay as they are in %s: %s", room_id, exc)

    async def encrypted(self, item: Item) -> None:
        """Say once in an encrypted room that we cannot read there."""
        world = self._world()
        for user in (await rooms.agents_in(self._pool, item.room_id))[:1]:
            async with self._pool.acquire() as connection, connection.transaction():
                if await rooms.say_encrypted(connection, item.room_id):
                    place = Place(item.room_id, world.agents[user])
                    await outbox.say(connection, item.lane, place, ENCRYPTED)
