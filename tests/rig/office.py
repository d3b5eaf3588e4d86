"""The management room without a homeserver: what administrators type, and the rows that answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from memtrix_as import config, tools
from memtrix_as.admin import confirm, desk, room
from memtrix_as.agent.dispatcher import Dispatcher
from memtrix_as.agent.meter import Meter
from memtrix_as.agent.people import People
from memtrix_as.db import inbox, management, outbox
from memtrix_as.db.agents import Agent
from memtrix_as.db.inbox import Arrival
from memtrix_as.db.pool import Pool
from memtrix_as.engine import services_of
from memtrix_as.local.ports import free_port
from memtrix_as.matrix import client
from memtrix_as.matrix.client import Client
from memtrix_as.measures import Measures
from memtrix_as.memory.company import Companies
from memtrix_as.memory.keeper import Keeper
from memtrix_as.memory.persona import Persona
from memtrix_as.providers.catalog import Models
from memtrix_as.workspace import Workspaces
from tests.rig.api import Json
from tests.rig.bench import ANN, MAIN, Bench, Model
from tests.rig.settings import settings, tokens, write

OFFICE = "!office"
BEN, EVE = "@ben:hs.test", "@eve:hs.test"  # an administrator, and somebody who is none


class Nowhere:
    """Where agents need no users: they are as they should be at once."""

    async def settle(self, agent: Agent) -> Agent:
        return agent

    async def dismiss(self, agent: Agent) -> None: ...


async def changed() -> None:
    """Who the agents are is looked up each time."""


class Office(Bench):
    """An installation with a management room; Ann and Ben are administrators."""

    def __init__(
        self, pool: Pool, folder: Path, settled: config.Config, models: Models, client: Client
    ) -> None:
        super().__init__(pool, folder, Model(()), tools.discover().tools)
        keeper = Keeper(pool, "", settled)
        services = services_of(pool, settled, keeper, Persona(pool, settled), Measures())
        services |= desk.services(client, settled, models, folder.parent / "config.yaml")
        services[People] = People(
            pool, settled, Meter(models, pool, self.room, settled, Measures()), services[Persona],
            services[Companies], services[Workspaces], Nowhere(), changed,
        )  # fmt: skip
        self.means = replace(self.means, config=settled, services=services)
        self.dispatcher = Dispatcher(
            pool, self.room, {"admin": partial(room.handle, self.means)}, 5
        )
        self.questions = confirm.Expiry(pool, 600)

    async def open(self) -> None:
        await super().open()
        await management.keep(self.pool, OFFICE, "#memtrix-admin:hs.test")
        await self.pool.execute("insert into rooms (room_id, synced) values ($1, true)", OFFICE)
        await self.comes(MAIN)
        await self.comes(ANN)

    async def comes(self, user: str) -> None:
        """Somebody enters the management room."""
        await self.pool.execute("insert into members values ($1, $2, null)", OFFICE, user)

    async def happens(self, kind: str, content: Json, who: str = ANN, **more: Any) -> str:
        """An event of the management room, not yet handled; returns its id."""
        self._events += 1
        event_id = f"$order{self._events}"
        raw = {"event_id": event_id, "room_id": OFFICE, "type": kind, "sender": who, **more}
        payload = {**raw, "content": content}
        lane = inbox.orders(who, OFFICE)
        await inbox.put(self.pool, [Arrival(lane, "admin", OFFICE, "memtrix", event_id, payload)])
        return event_id

    async def writes(self, text: str, who: str = ANN, **content: Any) -> str:
        """A message, not yet handled."""
        return await self.happens(
            "m.room.message", {"msgtype": "m.text", "body": text, **content}, who
        )

    async def types(self, text: str, who: str = ANN, **content: Any) -> str:
        """A message, and all that is said to it; questions and how they ended among that."""
        before = len(self.room.sent)
        await self.writes(text, who, **content)
        await self.work()
        return self.said(before)

    async def clicks(self, emoji: str, row: outbox.Row, who: str = ANN) -> str:
        """A reaction on a question."""
        before = len(self.room.sent)
        relates = {"rel_type": "m.annotation", "event_id": f"$out{row.id}", "key": emoji}
        await self.happens("m.reaction", {"m.relates_to": relates}, who)
        await self.work()
        return self.said(before)

    def said(self, since: int = 0) -> str:
        """What stands in the management room since then."""
        rows = [row for row in self.room.sent[since:] if row.room_id == OFFICE]
        return "\n\n".join(row.text for row in rows if row.kind == "notice")

    def question(self) -> outbox.Row:
        """The newest question."""
        asked = [r for r in self.room.sent if r.kind == "notice" and "React with" in r.text]
        return asked[-1]


@asynccontextmanager
async def opened(
    pool: Pool, folder: Path, model_url: str = "http://127.0.0.1:9", **changes: Any
) -> AsyncIterator[Office]:
    """An office with the room open; `changes` are sections of the configuration."""
    values = settings(tokens("memtrix"), "http://127.0.0.1:9", free_port(), "embedded", model_url)
    values["permissions"] = {ANN: "admin", BEN: "admin", "hs.test": "user"}
    settled = config.load(write(folder / "config.yaml", values | changes))
    models = Models.from_config(settled)
    try:
        async with client.opened(settled) as matrix:
            yield Office(pool, folder / "bench", settled, models, matrix)
    finally:
        await models.close()
