"""The management room: whether it is there, and an administrator can give orders in it."""

from collections.abc import Iterator
from urllib.parse import quote

from memtrix_as.config import Config
from memtrix_as.db import management
from memtrix_as.db.management import Known
from memtrix_as.doctor.check import Ailing, Check
from memtrix_as.doctor.database import Database
from memtrix_as.doctor.homeserver import CLIENT, Homeserver

RESTART = "restart the service: it invites them"
ANEW = "restart the service: it finds the room again, or makes another"


class Room:
    """What database and homeserver say of it."""

    def __init__(self, config: Config, database: Database, homeserver: Homeserver) -> None:
        self._config, self._database, self._homeserver = config, database, homeserver
        self._admins = [
            who for who, role in config.permissions.items() if role == "admin" and who[0] == "@"
        ]

    def checks(self) -> Iterator[Check]:
        yield Check("management room", self._look, ("migrations", "user names"), patience=10)

    async def _look(self) -> str:
        known = await management.get(self._database.pool)
        if known is None:
            return f"{self._config.management.room} is made once the service runs"
        absent = sorted(set(self._admins) - set(known.invited))
        if absent:
            were = "was" if len(absent) == 1 else "were"
            raise Ailing(
                f"{', '.join(absent)} {were} not asked into {known.alias}", RESTART, "warn"
            )
        await self._is_there(known)
        return await self._members(known)

    async def _is_there(self, known: Known) -> None:
        ask, bot = self._homeserver.ask, self._homeserver.bot
        named = await ask(f"{CLIENT}/v3/directory/room/{quote(known.alias)}", user=bot)
        if named.body.get("room_id") != known.room_id:
            raise Ailing(f"{known.alias} does not lead to our room any more", ANEW)
        joined = await ask(f"{CLIENT}/v3/joined_rooms", user=bot)
        if known.room_id not in joined.body.get("joined_rooms", []):
            raise Ailing(
                f"{bot} is not in {known.alias}, so it hears no orders",
                f"invite {bot} there; or take the alias from that room, and restart the service",
            )
        encrypted = await ask(self._state(known, "m.room.encryption/"), user=bot)
        if encrypted.status == 200:
            raise Ailing(
                f"{known.alias} is encrypted: nothing that is typed there can be read",
                "name another alias in management.room, write the registration anew "
                "(memtrix-as -g), and restart both",
            )

    async def _members(self, known: Known) -> str:
        there = []
        for admin in self._admins:
            path = self._state(known, f"m.room.member/{quote(admin)}")
            got = await self._homeserver.ask(path, user=self._homeserver.bot)
            if got.body.get("membership") in ("join", "invite"):
                there.append(admin)
        if self._admins and not there:
            raise Ailing(f"no administrator is in {known.alias}", RESTART, "warn")
        return f"{known.alias} is there, with {', '.join(there) or 'nobody'}"

    @staticmethod
    def _state(known: Known, event: str) -> str:
        return f"{CLIENT}/v3/rooms/{quote(known.room_id)}/state/{event}"
