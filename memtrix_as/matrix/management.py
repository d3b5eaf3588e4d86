"""The management room: made or found at the start, and administrators asked into it."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mautrix.api import Method, Path

from memtrix_as.config import Config, role
from memtrix_as.db import management
from memtrix_as.db.management import Known
from memtrix_as.db.pool import DOWN, Pool, reachable
from memtrix_as.errors import HomeserverError
from memtrix_as.matrix.client import Client, patiently
from memtrix_as.matrix.event import content_of
from memtrix_as.matrix.intake import World
from memtrix_as.matrix.registration import management_alias

log = logging.getLogger(__name__)

NAME = "Memtrix management"
TOPIC = "Administrators give orders to Memtrix here. Type help to see them."
GREETING = """\
I am {name}. In this room I take orders from my administrators; to talk with me, invite `{bot}` to \
another room.

Write `help` to see all that I do here, and `help agent` to see examples.

To begin: `status` shows how I am, `models` what I think with, `agents` who works with me."""
POWER = 50  # of administrators: they can ask others in and out, and not switch on encryption
STATE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("m.room.history_visibility", {"history_visibility": "invited"}),
    ("m.room.guest_access", {"guest_access": "forbidden"}),
    # A preview is a request from the homeserver to whatever address a message names.
    ("org.matrix.room.preview_urls", {"disable": True}),
)
STRANGE = (
    "management.room: %s leads to a room that %s does not trust: %s. No commands are taken. "
    "Remove the alias from that room or name another one in `management.room` (then write the "
    "registration anew with `memtrix-as -g`), and start again."
)
NOT_IN = (
    "%s is not in it; if it is the right one, an administrator can invite it there before the "
    "next start"
)
LOST = "management.room: %s could not be made or found, no commands are taken: %s%s"
OTHER = ". The registration that it has names another alias: write it anew with `memtrix-as -g`"
ENCRYPTED = (
    "management.room: %s is encrypted, so nothing that is typed there can be read. Make another "
    "room: name another alias in `management.room`."
)


@dataclass(frozen=True)
class Facts:
    """What the homeserver says of a room that we are in."""

    creator: str = ""
    version: str = "1"
    encrypted: bool = False
    members: Mapping[str, str] = field(default_factory=dict)  # user id -> membership
    power: Mapping[str, Any] = field(default_factory=dict)  # m.room.power_levels


def facts(state: Iterable[Mapping[str, Any]]) -> Facts:
    """Read the state of a room; what is not as it should be reads as absent."""
    members: dict[str, str] = {}
    found: dict[str, Mapping[str, Any]] = {}
    for event in state:
        kind, content = str(event.get("type")), content_of(event)
        if kind == "m.room.member":
            members[str(event.get("state_key"))] = str(content.get("membership"))
        elif event.get("state_key") == "":
            found[kind] = event
    create = found.get("m.room.create", {})
    return Facts(
        str(create.get("sender", "")),
        str(content_of(create).get("room_version", "1")),
        "m.room.encryption" in found,
        members,
        content_of(found.get("m.room.power_levels", {})),
    )


def empowered(known: Facts, admins: Sequence[str]) -> dict[str, Any] | None:
    """The power levels with which the administrators can invite and kick; None: they have them.

    Creators must not be named there since room version 12, and need not be.
    """
    users = dict(known.power.get("users") or {})
    low = [a for a in admins if _number(users.get(a)) < POWER and a != known.creator]
    invite = known.power.get("invite", 0)
    if not low and _number(invite) >= POWER:
        return None
    # Who is no administrator is not to bring in others.
    return {**known.power, "users": users | dict.fromkeys(low, POWER), "invite": POWER}


def missing(known: Facts, admins: Sequence[str], invited: Iterable[str]) -> list[str]:
    """The administrators to ask in: each once, since whoever left may want to stay outside.

    But a room without any is of no use, so then all are.
    """
    there = {a for a in admins if known.members.get(a) in ("join", "invite")}
    banned = {a for a in admins if known.members.get(a) == "ban"}
    left = set(invited) if there else set()
    return [a for a in admins if a not in there | banned | left]


def administrators(config: Config, ours: Iterable[str]) -> list[str]:
    """Those who can be asked in: a whole domain cannot."""
    mine = set(ours)
    return [
        who for who, what in config.permissions.items()
        if what == "admin" and who.startswith("@") and who not in mine
    ]  # fmt: skip


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


class Management:
    """Sees to the management room, once, when our users are known to the homeserver."""

    def __init__(self, pool: Pool, client: Client, config: Config, world: World) -> None:
        self._pool = pool
        self._client = client
        self._config = config
        self._world = world
        self._bot = next(user for user, name in world.agents.items() if name == world.main)
        self._alias = management_alias(config.homeserver, config.management)

    async def keep(self) -> None:
        """Find or make the room, however long the homeserver is away; problems are logged."""
        while True:
            try:
                room_id = await self._room()
                if room_id is not None:
                    log.info("The management room is %s (%s)", self._alias, room_id)
                    await self._welcome(room_id)
                return
            except HomeserverError as exc:
                log.error(LOST, self._alias, exc, OTHER if exc.errcode == "M_EXCLUSIVE" else "")
                return
            except DOWN as exc:
                log.warning("The management room waits for the database: %s", exc)
                await reachable(self._pool)

    async def _room(self) -> str | None:
        """The room that the alias leads to, if we may take orders there."""
        for _ in range(2):  # once more when another process of ours has just made it
            room_id = await self._resolve()
            if room_id is not None:
                return await self._trusted(room_id)
            known = await management.get(self._pool)
            if known and known.alias == self._alias and known.room_id in await self._joined():
                await self._name(known)
                return known.room_id
            try:
                room_id = await self._make()
            except HomeserverError as exc:
                if exc.errcode != "M_ROOM_IN_USE":
                    raise
                continue
            await management.keep(self._pool, room_id, self._alias)
            return room_id
        return None

    async def _resolve(self) -> str | None:
        path = Path.v3.directory.room[self._alias]
        try:
            found = await self._ask(Method.GET, path)
        except HomeserverError as exc:
            if exc.status == 404:
                return None
            raise
        return str(found["room_id"])

    async def _joined(self) -> list[str]:
        return list((await self._ask(Method.GET, Path.v3.joined_rooms)).get("joined_rooms", []))

    async def _trusted(self, room_id: str) -> str | None:
        """Whether whoever has the power there is one of us, or an administrator."""
        why = None
        if room_id not in await self._joined():
            why = NOT_IN % self._bot
        else:
            creator = (await self._look(room_id)).creator
            inviter = await management.inviter(self._pool, self._world.main, room_id)
            if not (self._ours(creator) or self._admin(creator) or self._admin(inviter or "")):
                why = f"{creator} made it, who is no administrator"
        if why:
            log.error(STRANGE, self._alias, self._bot, why)
            await management.none(self._pool)
            return None
        await management.keep(self._pool, room_id, self._alias)
        return room_id

    async def _make(self) -> str:
        """A new room behind the alias, in which nobody is but us."""
        body = {
            "preset": "private_chat",
            "visibility": "private",
            "room_alias_name": self._alias[1:].partition(":")[0],
            "name": NAME,
            "topic": TOPIC,
            "initial_state": [
                {"type": kind, "state_key": "", "content": content} for kind, content in STATE
            ],
        }
        room_id = str((await self._ask(Method.POST, Path.v3.createRoom, body))["room_id"])
        log.info("Made the management room %s", self._alias)
        return room_id

    async def _name(self, known: Known) -> None:
        """Give our room its alias back."""
        path = Path.v3.directory.room[known.alias]
        await self._ask(Method.PUT, path, {"room_id": known.room_id})

    async def _welcome(self, room_id: str) -> None:
        """Give administrators their power and ask them in, each once."""
        state = await self._look(room_id)
        if state.encrypted:
            log.error(ENCRYPTED, self._alias)
        admins = administrators(self._config, [*self._world.agents, *self._world.ours])
        known = await management.get(self._pool)
        assert known
        levels = empowered(state, admins)
        if levels is not None:
            path = Path.v3.rooms[room_id].state["m.room.power_levels"][""]
            try:
                await self._ask(Method.PUT, path, levels)
            except HomeserverError as exc:  # another has made the room, and keeps the power
                log.info("Power levels of %s stay as they are: %s", self._alias, exc)
        for admin in missing(state, admins, known.invited):
            try:
                await self._ask(Method.POST, Path.v3.rooms[room_id].invite, {"user_id": admin})
            except HomeserverError as exc:
                log.warning("%s cannot be asked into %s: %s", admin, self._alias, exc)
                continue
            # Not before: what is said earlier they could not read.
            greeting = GREETING.format(name=self._config.main_agent.name, bot=self._bot)
            await management.invited(self._pool, [admin], self._world.main, greeting)
        present = [a for a in admins if state.members.get(a) in ("join", "invite")]
        if set(present) - set(known.invited):
            await management.invited(self._pool, present)
        if not admins:
            log.warning(
                "management.room: nobody can be asked into %s: `permissions` names no full Matrix "
                "id as admin",
                self._alias,
            )

    async def _look(self, room_id: str) -> Facts:
        return facts(await patiently(lambda: self._client.room_state(self._bot, room_id)))

    async def _ask(self, method: Method, path: Any, body: Mapping[str, Any] | None = None) -> Any:
        return await patiently(lambda: self._client.request(method, path, body, user=self._bot))

    def _ours(self, user: str) -> bool:
        return user in self._world.agents or user in self._world.ours

    def _admin(self, user: str) -> bool:
        return role(self._config.permissions, user) == "admin"
