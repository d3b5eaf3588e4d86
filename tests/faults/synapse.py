"""The real homeserver in place of the fake one: the same humans, who see by /sync."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp

from tests.benchmarks.parts import SYNAPSE
from tests.rig.api import Json
from tests.rig.homeserver import Homeserver
from tests.rig.human import Human
from tests.rig.timeline import Timeline


class RealHomeserver:
    """What `FakeHomeserver` is to a town, but for its clock, and for what it counts of pushes."""

    def __init__(self, folder: Path, registration: Json) -> None:
        self.heard: list[Callable[[str, Json], None]] = []
        self.skew = 0.0  # it has the clock of this machine
        self.refused = self.repeated = 0
        self.service = str(registration["url"])
        self._synapse = Homeserver(folder, SYNAPSE, [registration])
        self._out: dict[str, asyncio.Queue[Callable[[], object]]] = {}
        self._senders: list[asyncio.Task[None]] = []

    @property
    def port(self) -> int:
        return self._synapse.port

    @property
    def rooms(self) -> dict[str, Timeline]:
        return self._ann.rooms

    async def start(self) -> None:
        await self._synapse.start()
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        user_id, token = await self._synapse.account(self._http, "ann")
        self._ann = _Ann(self._synapse.api(self._http, token), user_id, self.heard)
        await self._ann.open_eyes()

    async def stop(self) -> None:
        for task in self._senders:
            task.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        await self._ann.close_eyes()
        await self._http.close()
        await self._synapse.stop()

    def forget_transactions(self) -> None:
        """It forgets them when it is started anew, which is not done here."""

    async def make_room(self, human: str, *invited: str) -> str:
        room = await self._ann.create_room(*invited, is_direct=True)
        self._out[room] = asyncio.Queue()
        self._senders.append(asyncio.create_task(self._send(room)))
        return room

    def say(self, room_id: str, human: str, text: str) -> None:
        self._out[room_id].put_nowait(lambda: self._ann.send(room_id, text))

    def react(self, room_id: str, human: str, event_id: str, key: str) -> None:
        self._out[room_id].put_nowait(lambda: self._ann.react(room_id, event_id, key))

    async def _send(self, room: str) -> None:
        """One after the other: what was said first comes first."""
        while True:
            await (await self._out[room].get())()  # type: ignore[misc]


class _Ann(Human):
    """Tells of each event of a room as it comes."""

    def __init__(self, api: object, user_id: str, heard: list[Callable[[str, Json], None]]) -> None:
        super().__init__(api, user_id)  # type: ignore[arg-type]
        self._heard = heard
        self._told: dict[str, int] = {}

    def changed(self) -> None:
        super().changed()
        for room_id, room in [*self.rooms.items()]:
            for event in room.events[self._told.get(room_id, 0) :]:
                for tell in self._heard:
                    tell(room_id, event)
            self._told[room_id] = len(room.events)
