"""The composition root: opens database, models and homeserver, and closes them in order."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from memtrix_as import database, tools
from memtrix_as.admin import confirm, desk, room
from memtrix_as.agent import approvals, commands, condense, corrections, errand, turn, upkeep
from memtrix_as.agent.dispatcher import Dispatcher, Handler
from memtrix_as.agent.means import Means
from memtrix_as.agent.meter import Meter
from memtrix_as.agent.people import People
from memtrix_as.agent.upkeep import Upkeep
from memtrix_as.attachments import Attachments
from memtrix_as.config import Config, redact
from memtrix_as.db import agents, bell, consultations
from memtrix_as.db.inbox import Item
from memtrix_as.db.offers import OFFER
from memtrix_as.db.pool import Pool, check, connect, reachable
from memtrix_as.db.queue import Lease, Queue
from memtrix_as.documents import avatar
from memtrix_as.documents.extract import Documents
from memtrix_as.documents.images import Images
from memtrix_as.errors import ConfigError, DatabaseError, HomeserverError
from memtrix_as.foreign import Broken
from memtrix_as.health import Health
from memtrix_as.matrix import aftermath
from memtrix_as.matrix.appservice import Store, TransactionPort
from memtrix_as.matrix.catchup import CatchUp
from memtrix_as.matrix.channel import RoomChannel
from memtrix_as.matrix.chat import MatrixChat
from memtrix_as.matrix.client import Client
from memtrix_as.matrix.directory import Directory
from memtrix_as.matrix.management import Management
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


class App:
    """The application service, from `start` to `stop`; `path` is the file of its configuration."""

    def __init__(self, config: Config, path: Path | None = None) -> None:
        self._config = config
        self._path = path
        self._stack = AsyncExitStack()
        self._joining: asyncio.Task[None] | None = None
        self._short: set[asyncio.Task[None]] = set()
        self.people: People | None = None  # the agents, once started
        self.ready = asyncio.Event()
        self.caught_up = False
        self.measures = Measures()
        self.broken: tuple[Broken, ...] = ()  # files and packages with tools or providers

    async def start(self) -> None:
        """Take work as soon as the port listens; `ready` once the homeserver knows us.

        Raises DatabaseError, LocalPartError or ConfigError; a homeserver that is away is
        waited for.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        config, stack = self._config, self._stack
        dsn, pool = await self._database()
        directory = Directory(pool, config)
        await directory.look()
        store = Store(pool, directory)
        port = TransactionPort(config, store)
        client = Client(port)
        chat = MatrixChat(pool, client, config.limits, directory.user_of, self.measures)
        rooms = Rooms(pool, client, store, directory.world)
        puppets = Puppets(client, config, pool, avatar.draw)
        keeper, persona = Keeper(pool, dsn, config), Persona(pool, config)
        await persona.keep(config.appservice.bot_username)
        services = services_of(pool, config, keeper, persona, self.measures)
        services[Channel] = RoomChannel(pool, client, chat, config, directory.user_of)
        models = Models.from_config(config)
        stack.push_async_callback(models.close)
        meter = Meter(models, pool, chat, config, self.measures)
        await meter.check()
        people = People(
            pool, config, meter, persona, services[Companies], services[Workspaces], puppets,
            directory.look,
        )  # fmt: skip
        services[People] = self.people = people
        services |= desk.services(client, config, models, self._path)
        stack.push_async_callback(people.close)
        means, broken = means_of(config, pool, chat, meter, services, directory, self.measures)
        self.broken = (*models.broken, *broken)
        dispatcher = Dispatcher(
            pool, chat, _handlers(means, rooms, keeper.wake), config.limits.attempts
        )
        queue = Queue(dsn, pool, dispatcher.drain, config.limits.concurrent_turns)
        await self._listen(port)
        await aftermath.settle(client, pool)
        await self._be_watched(pool, queue)
        await queue.start()
        expiry = approvals.Expiry(means)
        expiry.start()
        for close in (chat.close, meter.close, queue.stop, expiry.stop, keeper.stop):
            stack.push_async_callback(close)
        keeper.start()
        self._later(confirm.Expiry(pool, config.limits.approval_timeout).run())
        if config.memory.upkeep:
            self._later(Upkeep(pool, config.memory.upkeep).run())
        self._later(bell.listen(dsn, bell.ANSWERS, means.answers.ring))
        self._later(bell.listen(dsn, bell.AGENTS, lambda: self._soon(directory.look())))
        joining = self._join(
            port, puppets, CatchUp(config, client, store, pool), pool,
            Management(pool, client, config, directory.world()),
        )  # fmt: skip
        self._joining = asyncio.create_task(joining)
        self._joining.add_done_callback(_log_failure)

    async def _database(self) -> tuple[str, Pool]:
        """The database, migrated if it is our own, with the main agent in it."""
        dsn = await self._stack.enter_async_context(database.opened(self._config))
        pool = await connect(dsn)
        self._stack.push_async_callback(pool.close)
        await migrated(self._config, pool, dsn)
        await agents.keep_main(pool, agents.main(self._config))
        return dsn, pool

    async def _listen(self, port: TransactionPort) -> None:
        service = self._config.appservice
        try:
            await port.start(service.hostname, service.port)
        except OSError as exc:
            raise ConfigError(
                f"appservice.port: cannot listen on {service.hostname}:{service.port} "
                f"({exc.strerror or exc}); is the service running already?"
            ) from exc
        self._stack.push_async_callback(port.stop)

    async def _be_watched(self, pool: Pool, queue: Queue) -> None:
        def state() -> dict[str, bool]:
            return {
                "homeserver": self.ready.is_set(),
                "caught_up": self.caught_up,
                "queue": queue.runs,
            }

        health = Health(self._config.metrics, pool, self.measures, state)
        self._stack.push_async_callback(health.stop)
        await health.start()

    async def stop(self) -> None:
        """Let turns come to a rest, and close everything."""
        if self._joining:
            self._joining.cancel()
            await asyncio.gather(self._joining, return_exceptions=True)
        await self._stack.aclose()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside everything else, until the service stops."""
        task = asyncio.create_task(work)
        task.add_done_callback(_log_failure)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._stack.push_async_callback(end)

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside everything else; it is short, and may be cut short."""
        task = asyncio.create_task(work)
        self._short.add(task)
        task.add_done_callback(self._short.discard)
        task.add_done_callback(_log_failure)

    async def _join(
        self, port: TransactionPort, puppets: Puppets, catch_up: CatchUp, pool: Pool,
        management: Management,
    ) -> None:  # fmt: skip
        """Make ourselves known to the homeserver, then take what it still has for us."""
        try:
            await puppets.reconcile()
        except HomeserverError as exc:
            log.error("%s", exc)
            return
        port.ready = True
        self.ready.set()
        log.info("Ready: invite @%s:%s to a room", self._config.appservice.bot_username,
                 self._config.homeserver.domain)  # fmt: skip
        assert self.people
        await self.people.go_on()
        self._later(management.keep())
        while True:
            port.taken.clear()
            await catch_up.run(await agents.load(pool))
            self.caught_up = True
            for pause in catch_up.pauses:
                if await _set_within(port.refused, pause) or port.taken.is_set():
                    break
                await catch_up.run(await agents.load(pool), again=True)
            await port.refused.wait()
            # What we refused while the database was away is sent again late, or with the next
            # event only (Conduit), unless we ask for it.
            await reachable(pool)
            port.refused.clear()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def _log_failure(task: asyncio.Task[None]) -> None:
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
