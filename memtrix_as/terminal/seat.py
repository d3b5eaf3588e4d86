"""The composition root of a terminal: everything between a screen and its agent."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from memtrix_as import database, engine
from memtrix_as.agent import approvals, people
from memtrix_as.agent.dispatcher import Dispatcher
from memtrix_as.agent.means import Means
from memtrix_as.agent.meter import Meter
from memtrix_as.agent.people import People
from memtrix_as.agent.upkeep import Upkeep
from memtrix_as.config import Config
from memtrix_as.db import agents, bell, terminal, workers
from memtrix_as.db.agents import Agent
from memtrix_as.db.pool import Pool, connect
from memtrix_as.db.queue import Queue
from memtrix_as.errors import HomeserverError
from memtrix_as.matrix.directory import Directory
from memtrix_as.measures import Measures
from memtrix_as.memory.company import Companies
from memtrix_as.memory.keeper import Keeper
from memtrix_as.memory.persona import Persona
from memtrix_as.providers.catalog import Models
from memtrix_as.terminal import who
from memtrix_as.terminal.channel import TerminalChannel
from memtrix_as.terminal.chat import Screen, Shown, TerminalChat, typed
from memtrix_as.terminal.door import Door
from memtrix_as.tool import Channel
from memtrix_as.workspace import Workspaces

CONCURRENT = 8  # lanes of one terminal: its turns, what overtakes them, agents that it asks
USED = "Others use the database that was started here; it ends when they do. Ctrl-C ends it now."
LATER = "It leaves its rooms when the service runs."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for; `passing` is a conversation that begins anew each time."""

    human: str
    agent: str | None = None
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Seat:
    """A place to talk from."""

    pool: Pool
    agent: Agent
    door: Door
    chat: TerminalChat
    keeper: Keeper
    asked: Sequence[Shown]  # open questions that were shown before

    async def take(self, text: str) -> tuple[str | None, str]:
        """What `Door.take` does, once all that is on the screen can be answered."""
        async with self.chat.delivering:
            return await self.door.take(text)

    async def left(self) -> terminal.Left:
        return await terminal.left(self.pool, self.door.room_id)

    async def abandon(self) -> bool:
        """Stop what goes on; nobody sits here any more."""
        return await terminal.abandon(self.pool, self.agent.name, self.door.room_id)


class Elsewhere:
    """Where agents are rows only: their Matrix users are for the service to make."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def settle(self, agent: Agent) -> Agent:
        return agent

    async def dismiss(self, agent: Agent) -> None:
        if (await agents.holdings(self._pool, agent.name)).rooms:
            raise HomeserverError(LATER)


@asynccontextmanager
async def taken(
    config: Config, wanted: Wanted, screen: Screen, say: Callable[[str], None]
) -> AsyncIterator[Seat]:
    """A seat before the screen, as long as it lasts. DatabaseError, ConfigError, ToolError …"""
    async with AsyncExitStack() as stack:
        dsn, pool = await _database(config, stack, say)
        directory = Directory(pool, config)
        await directory.look()
        everyone = await agents.load(pool)
        agent = people.found(wanted.agent, everyone) if wanted.agent else everyone[0]
        use = "once" if wanted.passing else "chat"
        named = partial(who.room, os.getuid(), wanted.human, agent.name, use)
        room_id = await stack.enter_async_context(terminal.taken(pool, named))
        member = {agent.user_id: agent.display_name}
        await terminal.furnish(pool, room_id, member, wanted.human)
        if wanted.passing:
            await terminal.begin_afresh(pool, agent.name, room_id)
        chat = TerminalChat(pool, screen, lambda name: _called(directory, name))
        asked = await terminal.asked(pool, room_id)
        again = [Shown("question", agent.display_name, typed(text), n) for n, text in asked]
        keeper = Keeper(pool, dsn, config)
        means = await _means(config, pool, stack, chat, keeper, directory)
        most = config.limits.attachment_size * 1_000_000
        door = Door(pool, directory, room_id, wanted.human, most)
        await _work(config, dsn, stack, means, keeper, door, directory)
        if not wanted.passing:
            keeper.start()
        yield Seat(pool, agent, door, chat, keeper, again)


def _called(directory: Directory, agent: str) -> str:
    return directory.world().display_names.get(agent, agent)


async def _database(
    config: Config, stack: AsyncExitStack, say: Callable[[str], None]
) -> tuple[str, Pool]:
    embedded = config.appservice.database == "embedded"
    ours = embedded and await database.running(config) is None
    dsn = await stack.enter_async_context(database.opened(config, say))
    pool = await connect(dsn)
    stack.push_async_callback(pool.close)
    if ours:
        stack.push_async_callback(_wait_for_others, pool, say)
    await engine.migrated(config, pool, dsn)
    await agents.keep_main(pool, agents.main(config))
    return dsn, pool


async def _wait_for_others(pool: Pool, say: Callable[[str], None]) -> None:
    """A service that came later works on the database that ends with us."""
    told = False
    with suppress(asyncio.CancelledError):  # a Ctrl-C: then they have to see to themselves
        while await workers.processes(pool):
            if not told:
                say(USED)
            told = True
            await asyncio.sleep(1)


async def _means(
    config: Config, pool: Pool, stack: AsyncExitStack, chat: TerminalChat, keeper: Keeper,
    directory: Directory,
) -> Means:  # fmt: skip
    persona = Persona(pool, config)
    await persona.keep(config.appservice.bot_username)
    measures = Measures()
    services = engine.services_of(pool, config, keeper, persona, measures)
    services[Channel] = TerminalChannel(pool, chat, config, services[Workspaces])
    models = Models.from_config(config)
    stack.push_async_callback(models.close)
    meter = Meter(models, pool, chat, config, measures)
    await meter.check()
    services[People] = staff = People(
        pool, config, meter, persona, services[Companies], services[Workspaces], Elsewhere(pool),
        directory.look,
    )  # fmt: skip
    stack.push_async_callback(staff.close)
    stack.push_async_callback(meter.close)
    return engine.means_of(config, pool, chat, meter, services, directory, measures)[0]


async def _work(
    config: Config, dsn: str, stack: AsyncExitStack, means: Means, keeper: Keeper, door: Door,
    directory: Directory,
) -> None:  # fmt: skip
    """Begin to drain the lanes of this terminal."""
    chat, pool = means.chat, means.pool
    assert isinstance(chat, TerminalChat)
    handlers = engine.handlers_of(means, keeper.wake)
    dispatcher = Dispatcher(pool, chat, handlers, config.limits.attempts)
    lanes = Queue(dsn, pool, dispatcher.drain, CONCURRENT, door.room_id, stirred=means.stirred.ring)
    expiry = approvals.Expiry(means)
    for close in (keeper.stop, chat.close, lanes.stop, expiry.stop):
        stack.push_async_callback(close)
    await lanes.start()
    expiry.start()

    def look() -> None:
        chat.soon(directory.look())

    beside: list[Coroutine[Any, Any, None]] = [
        bell.listen(dsn, bell.ANSWERS, means.answers.ring),
        bell.listen(dsn, bell.AGENTS, look),
    ]
    if config.memory.upkeep:
        beside.append(Upkeep(pool, config.memory.upkeep, door.human, door.room_id).run())
    for work in beside:
        task = asyncio.create_task(work)
        stack.push_async_callback(_ended, task)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
