"""What drains lanes: the parts that the service and each of its workers have alike."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from memtrix_as import database, tools
from memtrix_as.admin import desk, room
from memtrix_as.agent import (
    approvals,
    commands,
    condense,
    corrections,
    errand,
    retries,
    silence,
    turn,
    upkeep,
)
from memtrix_as.agent.dispatcher import Dispatcher, Handler
from memtrix_as.agent.means import Means
from memtrix_as.agent.meter import Meter
from memtrix_as.agent.people import People
from memtrix_as.attachments import Attachments
from memtrix_as.config import Config, redact
from memtrix_as.db import bell, consultations
from memtrix_as.db.inbox import Item
from memtrix_as.db.offers import OFFER
from memtrix_as.db.pool import Pool, check
from memtrix_as.db.queue import Lease, Queue
from memtrix_as.documents import avatar
from memtrix_as.documents.extract import Documents
from memtrix_as.documents.images import Images
from memtrix_as.errors import DatabaseError
from memtrix_as.foreign import Broken
from memtrix_as.health import Health
from memtrix_as.matrix import client
from memtrix_as.matrix.appservice import Store
from memtrix_as.matrix.channel import RoomChannel
from memtrix_as.matrix.chat import MatrixChat
from memtrix_as.matrix.directory import Directory
from memtrix_as.matrix.puppets import Puppets
from memtrix_as.matrix.rooms import Rooms
from memtrix_as.measures import Measures
from memtrix_as.memory.company import Companies
from memtrix_as.memory.journals import Journals
from memtrix_as.memory.keeper import Keeper
from memtrix_as.memory.persona import Persona
from memtrix_as.memory.recall import Recollection
from memtrix_as.outbound.web import Web
from memtrix_as.providers.catalog import Models
from memtrix_as.tool import Channel, Chat
from memtrix_as.tools.base import About
from memtrix_as.workspace import Workspaces

log = logging.getLogger(__name__)


class Engine:
    """Built by `build`; works from `start` until its stack is closed, in the order that is needed.

    Any number of them, in as many processes, work on one database.
    """

    def __init__(self, config: Config, path: Path | None, stack: AsyncExitStack) -> None:
        self._config = config
        self._path = path
        self._stack = stack
        self._short: set[asyncio.Task[None]] = set()
        self.changed = asyncio.Event()  # somebody has changed who our agents are
        self.measures = Measures()
        self.broken: tuple[Broken, ...] = ()  # files and packages with tools or providers

    async def build(self, dsn: str, pool: Pool, *, turns: bool = True, embeds: bool = True) -> None:
        """Put the parts together; ConfigError names the key that is wrong.

        `turns`: takes turns, not only what overtakes them. `embeds`: gives passages their
        vectors, which is for one process of all.
        """
        config, stack = self._config, self._stack
        self._dsn, self.pool = dsn, pool
        self.directory = Directory(pool, config)
        await self.directory.look()
        self.store = Store(pool, self.directory)
        self.client = await stack.enter_async_context(client.opened(config))
        self._chat = MatrixChat(
            pool, self.client, config.limits, self.directory.user_of, self.measures
        )
        rooms = Rooms(pool, self.client, self.store, self.directory.world)
        self.puppets = Puppets(self.client, config, pool, avatar.draw)
        self._keeper, persona = Keeper(pool, dsn, config, embeds=embeds), Persona(pool, config)
        await persona.keep(config.appservice.bot_username)
        services = services_of(pool, config, self._keeper, persona, self.measures)
        services[Channel] = RoomChannel(
            pool, self.client, self._chat, config, self.directory.user_of
        )
        models = Models.from_config(config)
        stack.push_async_callback(models.close)
        self._meter = Meter(models, pool, self._chat, config, self.measures)
        await self._meter.check()
        await self._meter.heal()
        self.people = People(
            pool, config, self._meter, persona, services[Companies], services[Workspaces],
            self.puppets, self.directory.look,
        )  # fmt: skip
        services[People] = self.people
        services |= desk.services(self.client, config, models, self._path)
        stack.push_async_callback(self.people.close)
        self._means, broken = means_of(
            config, pool, self._chat, self._meter, services, self.directory, self.measures
        )
        self.broken = (*models.broken, *broken)
        handlers = _handlers(self._means, rooms, self._keeper.wake)
        dispatcher = Dispatcher(pool, self._chat, handlers, config.limits.attempts)
        places = config.limits.concurrent_turns if turns else 0
        self._queue = Queue(
            dsn, pool, dispatcher.drain, places,
            inherit=self._inherit, stirred=self._means.stirred.ring,
        )  # fmt: skip
        self._chat.sure = lambda: self._queue.sure

    async def watched(self, state: Callable[[], dict[str, bool]]) -> None:
        """Open the port for those who watch, if one is configured; `state`: what else is ready."""

        def whole() -> dict[str, bool]:
            return {**state(), "queue": self._queue.runs}

        health = Health(self._config.metrics, self.pool, self.measures, whole)
        self._stack.push_async_callback(health.stop)
        await health.start()

    async def start(self) -> None:
        """Take work from now on."""
        await self._queue.start()
        expiry, watch = approvals.Expiry(self._means), silence.Watch(self._means)
        expiry.start()
        watch.start()
        keeper = self._keeper
        for close in (
            self._chat.close, self._meter.close, self._queue.stop, expiry.stop, watch.stop,
            keeper.stop,
        ):  # fmt: skip
            self._stack.push_async_callback(close)
        keeper.start()
        self.beside(bell.listen(self._dsn, bell.ANSWERS, self._means.answers.ring))
        self.beside(bell.listen(self._dsn, bell.AGENTS, self._look))

    def beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside everything else, until the stack is closed."""
        task = asyncio.create_task(work)
        task.add_done_callback(log_failure)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._stack.push_async_callback(end)

    def _inherit(self) -> None:
        """Another process has died: see to what it did beside turns."""
        self._keeper.wake()
        self._soon(self._meter.heal())

    def _look(self) -> None:
        """Look who our agents are now."""
        self.changed.set()
        self._soon(self.directory.look())

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that is short, and may be cut short."""
        task = asyncio.create_task(work)
        self._short.add(task)
        task.add_done_callback(self._short.discard)
        task.add_done_callback(log_failure)


def log_failure(task: asyncio.Task[None]) -> None:
    """For a task that nobody waits for."""
    if not task.cancelled() and (exc := task.exception()):
        log.error("A task of the service failed: %s", exc, exc_info=exc)


async def migrated(config: Config, pool: Pool, dsn: str) -> None:
    """See that the schema is ours; a database of our own is brought up to it."""
    try:
        await check(pool)
    except DatabaseError:
        if config.appservice.database != "embedded":
            raise
        log.info("Migrating the database")
        await database.migrate(dsn)
        await check(pool)


def means_of(
    config: Config, pool: Pool, chat: Chat, meter: Meter, services: dict[type, Any],
    directory: Directory, measures: Measures,
) -> tuple[Means, Sequence[Broken]]:  # fmt: skip
    """What every turn works with; which tools there are is found out here, and which are broken."""
    about = About(services[Workspaces], config.appservice.bot_username, config.timezone)
    found = tools.discover(config.tools.directories, config.tools.disabled, about)
    means = Means(
        pool, chat, meter, measures.watching(found.tools), config, directory.read, services,
        directory.colleagues, measures,
    )  # fmt: skip
    return means, found.broken


def services_of(
    pool: Pool, config: Config, keeper: Keeper, persona: Persona, measures: Measures
) -> dict[type, Any]:
    """What tools and turns may ask for, by its type."""
    companies, workspaces, images = Companies(pool, config), Workspaces(config), Images()
    return {
        Companies: companies,
        Keeper: keeper,
        Recollection: Recollection(pool, companies, lambda: keeper.embedders, measures.searched),
        Journals: Journals(pool, config),
        Persona: persona,
        Workspaces: workspaces,
        Web: Web.of(config),
        Documents: Documents(redact),
        Images: images,
        Attachments: Attachments(
            pool, workspaces, companies, images, config.limits.attachment_size * 1_000_000
        ),
    }


def handlers_of(means: Means, wake: Callable[[], None]) -> dict[str, Handler]:
    """Who handles what any channel may bring; `wake` is called when something was said."""

    def remembered(handle: Handler) -> Handler:
        async def handler(item: Item, lease: Lease) -> bool:
            if item.attempts == 1:  # else it includes what a crash or a human took
                means.measures.stage("waiting", item.waited)
            try:
                return await handle(item, lease)
            finally:
                wake()

        return handler

    return {
        "message": remembered(partial(turn.answer, means)),
        consultations.KIND: remembered(partial(turn.consult, means)),
        errand.KIND: remembered(partial(turn.run_errand, means)),
        "command": partial(commands.run, means),
        "approval": partial(approvals.answer, means),
        "edit": partial(corrections.edit, means),
        retries.KIND: partial(retries.again, means),
        "redaction": remembered(partial(corrections.withdraw, means)),
        "condense": partial(condense.condense, means),
        upkeep.KIND: partial(upkeep.condense, means),
    }


def _handlers(means: Means, rooms: Rooms, wake: Callable[[], None]) -> dict[str, Handler]:
    """Who handles which kind of inbox item."""

    def matrix(handle: Callable[[Item], Awaitable[None]]) -> Handler:
        async def handler(item: Item, _: Lease) -> bool:
            await handle(item)
            return False

        return handler

    def matrix_done(handle: Callable[[Item], Awaitable[None]]) -> Handler:
        async def handler(item: Item, _: Lease) -> bool:
            await handle(item)
            return True

        return handler

    return handlers_of(means, wake) | {
        "admin": partial(room.handle, means),
        "invite": matrix(rooms.invited),
        OFFER: matrix_done(rooms.open),
        "decline": matrix(rooms.unwanted),
        "arrived": matrix(rooms.settle),
        "unsorted": matrix(rooms.settle),
        "encrypted": matrix(rooms.encrypted),
    }
