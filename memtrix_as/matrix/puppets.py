"""Our users on the homeserver: the sender, the main agent, the sub-agents; made true there."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from mautrix.api import Method, Path

from memtrix_as.config import Config
from memtrix_as.db import agents
from memtrix_as.db.agents import Agent
from memtrix_as.db.pool import Pool
from memtrix_as.errors import HomeserverError
from memtrix_as.matrix.client import Client, patiently

log = logging.getLogger(__name__)


class Puppets:
    """Registers our users and keeps what others see of them as the agents table says."""

    def __init__(self, client: Client, config: Config, pool: Pool) -> None:
        self._client = client
        self._config = config
        self._pool = pool

    async def reconcile(self, everyone: Sequence[Agent]) -> None:
        """Make all our users true on the homeserver; waits while that is away."""
        sender = self._config.appservice.sender_localpart
        await self._register(f"@{sender}:{self._config.homeserver.domain}")
        for agent in everyone:
            try:
                await self._register(agent.user_id)
                if agent.shown_name != agent.display_name:
                    await self._show(agent)
            except HomeserverError as exc:
                if agent.main:
                    raise
                log.error("%s is not there: %s", agent.display_name, exc)

    async def _register(self, user_id: str) -> None:
        localpart = user_id[1:].partition(":")[0]
        body = {
            "type": "m.login.application_service",
            "username": localpart,
            "inhibit_login": True,
        }
        try:
            await patiently(
                lambda: self._client.request(Method.POST, Path.v3.register, body, user=user_id)
            )
            log.info("Registered %s", user_id)
        except HomeserverError as exc:
            if exc.errcode == "M_USER_IN_USE":
                return
            if exc.errcode == "M_EXCLUSIVE":
                raise HomeserverError(
                    f"The homeserver does not let us have {user_id}: its copy of the registration "
                    "has another namespace. Write it anew with `memtrix-as -g` and register it.",
                    status=exc.status,
                    errcode=exc.errcode,
                ) from exc
            raise

    async def _show(self, agent: Agent) -> None:
        # Each call writes a membership event into every room, so only what changed is told.
        path = Path.v3.profile[agent.user_id].displayname
        body = {"displayname": agent.display_name}
        await patiently(lambda: self._client.request(Method.PUT, path, body, user=agent.user_id))
        await agents.known(self._pool, replace(agent, shown_name=agent.display_name))
