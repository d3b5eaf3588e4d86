"""Who our agents are, as this process knows it; looked up anew when somebody has changed that."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

from memtrix_as.config import Config
from memtrix_as.db import agents
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.errors import LostTurn
from memtrix_as.matrix import intake
from memtrix_as.matrix.intake import World
from memtrix_as.messages import Colleague, Incoming
from memtrix_as.settings import checks


class Directory:
    """The world as intake sees it, and the user ids of our agents."""

    def __init__(self, pool: Pool, config: Config) -> None:
        self._pool = pool
        self._config = config
        self._world: World | None = None
        self._version = -1
        self._users: dict[str, str] = {}
        self._colleagues: Sequence[Colleague] = ()
        self._looking = asyncio.Lock()
        names = checks.username_pattern(config.appservice.username_template)
        self._namespace = f"@{names}:{re.escape(config.homeserver.domain)}"

    def world(self) -> World:
        """What intake knows of us."""
        assert self._world is not None
        return self._world

    def user_of(self, agent: str) -> str:
        """An agent's user id; LostTurn when it is not there any more."""
        if agent not in self._users:
            raise LostTurn(f"the agent {agent} is gone")
        return self._users[agent]

    def colleagues(self) -> Sequence[Colleague]:
        """What agents are told of each other, the main one first."""
        return self._colleagues

    def read(self, event: Mapping[str, Any], agent: str) -> Incoming:
        """A message event as an agent reads it."""
        return intake.incoming(event, agent, self.world())

    async def see(self, version: int, db: Connection | Pool) -> None:
        """Look again if the agents have changed since our last look: `version` counts that."""
        if version != self._version:
            await self.look(db)

    async def look(self, db: Connection | Pool | None = None) -> None:
        """Look up who there is."""
        async with self._looking:
            # In this order: what changes in between is looked at once too often, and never missed.
            version = await agents.version(db or self._pool)
            everyone = await agents.load(db or self._pool)
            config = self._config
            self._colleagues = [Colleague(a.name, a.display_name, a.expertise) for a in everyone]
            self._users = {a.name: a.user_id for a in everyone}
            self._world = World(
                agents={a.user_id: a.name for a in everyone},
                display_names={a.name: a.display_name for a in everyone},
                main=config.appservice.bot_username,
                roles=config.permissions,
                ours=(f"@{config.appservice.sender_localpart}:{config.homeserver.domain}",),
                hops=config.limits.agent_hops,
                namespace=self._namespace,
            )
            self._version = version
