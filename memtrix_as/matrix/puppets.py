"""Our users on the homeserver: the sender, the main agent, the sub-agents; made true there."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from weakref import WeakValueDictionary

from mautrix.api import Method, Path

from memtrix_as.config import Config
from memtrix_as.db import agents
from memtrix_as.db.agents import Agent
from memtrix_as.db.pool import Pool
from memtrix_as.errors import HomeserverError
from memtrix_as.matrix.client import Client, patiently

log = logging.getLogger(__name__)


class Puppets:
    """Registers our users and keeps what others see of them as the agents table says.

    What the homeserver was told is noted there: an agent that is as it should be costs nothing.
    """

    def __init__(
        self, client: Client, config: Config, pool: Pool, draw: Callable[[str], bytes]
    ) -> None:
        """`draw` makes a picture (PNG) for a user id; it takes a moment."""
        self._client = client
        self._config = config
        self._pool = pool
        self._draw = draw
        self._settling: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def reconcile(self) -> None:
        """Make all our users true on the homeserver; waits while that is away.

        HomeserverError when it does not let us have the main agent.
        """
        service, domain = self._config.appservice, self._config.homeserver.domain
        await self._register(f"@{service.sender_localpart}:{domain}")
        if await self._register(f"@{service.bot_username}:{domain}"):
            await agents.unknown(self._pool)  # it is another homeserver, or begins anew
        await self.agree()

    async def agree(self) -> None:
        """Make every agent true; HomeserverError when that cannot be for the main one."""
        for agent in await agents.load(self._pool):
            try:
                await self.settle(agent)
            except HomeserverError as exc:
                if agent.main:
                    raise
                log.error("%s is not there: %s", agent.display_name, exc)

    async def settle(self, agent: Agent) -> Agent:
        """Make one agent true: its user, what it is called there, its picture."""
        async with self._settling.setdefault(agent.name, asyncio.Lock()):
            if not agent.registered:
                await self._register(agent.user_id)
                agent = replace(agent, registered=True)
                await agents.known(self._pool, agent)
            # Each change writes a membership event into every room, so only what differs is told.
            if agent.shown_name != agent.display_name or agent.avatar is None:
                _, avatar = await asyncio.gather(self._name(agent), self._picture(agent))
                agent = replace(agent, shown_name=agent.display_name, avatar=avatar)
                await agents.known(self._pool, agent)
            return agent

    async def dismiss(self, agent: Agent) -> None:
        """Have an agent leave all its rooms."""
        rooms = await patiently(lambda: self._client.joined_rooms(agent.user_id))
        for room in rooms:
            try:
                await patiently(lambda room=room: self._client.leave(  # type: ignore[misc]
                    agent.user_id, room, "this agent is no more"
                ), tries=2)  # fmt: skip
            except HomeserverError as exc:
                log.warning("%s cannot leave %s: %s", agent.user_id, room, exc)
        log.info("%s has left %d rooms", agent.user_id, len(rooms))

    async def _register(self, user_id: str) -> bool:
        """See that a user is there; whether it is new."""
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
            return True
        except HomeserverError as exc:
            if exc.errcode == "M_USER_IN_USE":
                return False
            if exc.errcode == "M_EXCLUSIVE":
                raise HomeserverError(
                    f"The homeserver does not let us have {user_id}: its copy of the registration "
                    "has another namespace. Write it anew with `memtrix-as -g` and register it.",
                    status=exc.status,
                    errcode=exc.errcode,
                ) from exc
            raise

    async def _tell(self, agent: Agent, what: str, value: str) -> None:
        path = Path.v3.profile[agent.user_id][what]
        await patiently(
            lambda: self._client.request(Method.PUT, path, {what: value}, user=agent.user_id)
        )

    async def _name(self, agent: Agent) -> None:
        if agent.shown_name != agent.display_name:
            await self._tell(agent, "displayname", agent.display_name)

    async def _picture(self, agent: Agent) -> str | None:
        """The address of the agent's picture; empty where the homeserver does not take one.

        None where it may take one later: that is tried again at the next start, and an agent
        without a picture is there all the same.
        """
        if agent.avatar is not None:
            return agent.avatar
        data = await asyncio.to_thread(self._draw, agent.user_id)

        async def whole() -> AsyncGenerator[bytes, None]:
            yield data

        try:
            url = await self._client.upload(
                agent.user_id, whole(), len(data), "image/png", f"{agent.name}.png"
            )
            await self._tell(agent, "avatar_url", url)
        except HomeserverError as exc:
            log.info("%s has no picture: %s", agent.user_id, exc)
            return None if exc.retryable else ""
        return url
