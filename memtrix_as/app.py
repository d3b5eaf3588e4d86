"""The composition root: opens database, models and homeserver, and closes them in order."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from memtrix_as import database, tools
from memtrix_as.admin import confirm, desk, room
from memtrix_as.agent import approvals, commands, condense, corrections, turn, upkeep
from memtrix_as.agent.dispatcher import Dispatcher, Handler
from memtrix_as.agent.means import Means
from memtrix_as.agent.upkeep import Upkeep
from memtrix_as.attachments import Attachments
from memtrix_as.config import Config, redact
from memtrix_as.db import agents
from memtrix_as.db.inbox import Item
from memtrix_as.db.pool import Pool, check, connect, reachable
from memtrix_as.db.queue import Lease, Queue
from memtrix_as.documents.extract import Documents
from memtrix_as.documents.images import Images
from memtrix_as.errors import ConfigError, DatabaseError, HomeserverError
from memtrix_as.matrix import intake
from memtrix_as.matrix.appservice import Store, TransactionPort
from memtrix_as.matrix.catchup import CatchUp
from memtrix_as.matrix.channel import RoomChannel
from memtrix_as.matrix.chat import MatrixChat
from memtrix_as.matrix.client import Client
from memtrix_as.matrix.intake import World
from memtrix_as.matrix.management import Management
from memtrix_as.matrix.puppets import Puppets
from memtrix_as.matrix.rooms import Rooms
from memtrix_as.memory.company import Companies
from memtrix_as.memory.journals import Journals
from memtrix_as.memory.keeper import Keeper
from memtrix_as.memory.persona import Persona
from memtrix_as.memory.recall import Recollection
from memtrix_as.messages import Incoming
from memtrix_as.outbound.web import Web
from memtrix_as.providers.catalog import Models
from memtrix_as.tool import Channel
from memtrix_as.workspace import Workspaces

log = logging.getLogger(__name__)


class App:
    """The application service, from `start` to `stop`; `path` is the file of its configuration."""

    def __init__(self, config: Config, path: Path | None = None) -> None:
        self._config = config
        self._path = path
        self._stack = AsyncExitStack()
        self._world: World | None = None
        self._joining: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()

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
        dsn = await stack.enter_async_context(database.opened(config))
        pool = await connect(dsn)
        stack.push_async_callback(pool.close)
        await self._migrated(pool, dsn)
        await self._know_ourselves(pool)
        models = Models.from_config(config)
        stack.push_async_callback(models.close)
        store = Store(pool, self.world)
        port = TransactionPort(config, store)
        client = Client(port)
        chat = MatrixChat(pool, client, config.limits, self._user_of)
        rooms = Rooms(pool, client, store, self.world)
        keeper = Keeper(pool, dsn, config)
        persona = Persona(pool, config)
        await persona.keep(config.appservice.bot_username)
        services = services_of(pool, config, keeper, persona)
        services[Channel] = RoomChannel(pool, client, chat, config.tools, self._user_of)
        services |= desk.services(pool, config, client, models, self._path)
        offered = tools.discover(config.tools.directories, config.tools.disabled)
        means = Means(pool, chat, models, offered, config, self._read, services)
        handlers = _handlers(means, rooms, keeper.wake)
        dispatcher = Dispatcher(pool, chat, handlers, config.limits.attempts)
        queue = Queue(dsn, pool, dispatcher.drain, config.limits.concurrent_turns)
        service = config.appservice
        try:
            await port.start(service.hostname, service.port)
        except OSError as exc:
            raise ConfigError(
                f"appservice.port: cannot listen on {service.hostname}:{service.port} "
                f"({exc.strerror or exc}); is the service running already?"
            ) from exc
        stack.push_async_callback(port.stop)
        await queue.start()
        expiry = approvals.Expiry(means)
        expiry.start()
        stack.push_async_callback(chat.close)
        stack.push_async_callback(queue.stop)
        stack.push_async_callback(expiry.stop)
        stack.push_async_callback(keeper.stop)
        keeper.start()
        self._later(confirm.Expiry(pool, config.limits.approval_timeout).run())
        if config.memory.upkeep:
            self._later(Upkeep(pool, config.memory.upkeep).run())
        puppets = Puppets(client, config, pool)
        catch_up = CatchUp(config, client, store, pool)
        self._joining = asyncio.create_task(
            self._join(port, client, puppets, catch_up, pool, persona)
        )
        self._joining.add_done_callback(_log_failure)

    async def stop(self) -> None:
        """Let turns come to a rest, and close everything."""
        if self._joining:
            self._joining.cancel()
            await asyncio.gather(self._joining, return_exceptions=True)
        await self._stack.aclose()

    def world(self) -> World:
        """What intake knows of us."""
        assert self._world is not None
        return self._world

    async def _migrated(self, pool: Pool, dsn: str) -> None:
        try:
            await check(pool)
        except DatabaseError:
            if self._config.appservice.database != "embedded":
                raise
            log.info("Migrating the database")
            await database.migrate(dsn)
            await check(pool)

    async def _know_ourselves(self, pool: Pool) -> None:
        config = self._config
        await agents.keep_main(pool, agents.main(config))
        everyone = await agents.load(pool)
        self._world = World(
            agents={a.user_id: a.name for a in everyone},
            display_names={a.name: a.display_name for a in everyone},
            main=config.appservice.bot_username,
            roles=config.permissions,
            ours=(f"@{config.appservice.sender_localpart}:{config.homeserver.domain}",),
        )

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside everything else, until the service stops."""
        task = asyncio.create_task(work)
        task.add_done_callback(_log_failure)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._stack.push_async_callback(end)

    def _user_of(self, agent: str) -> str:
        return next(user for user, name in self.world().agents.items() if name == agent)

    def _read(self, event: Any, agent: str) -> Incoming:
        return intake.incoming(event, agent, self.world())

    async def _join(
        self, port: TransactionPort, client: Client, puppets: Puppets, catch_up: CatchUp,
        pool: Pool, persona: Persona,
    ) -> None:  # fmt: skip
        """Make ourselves known to the homeserver, then take what it still has for us."""
        everyone = await agents.load(pool)
        bot = everyone[0].user_id
        try:
            await puppets.reconcile(everyone)
        except HomeserverError as exc:
            log.error("%s", exc)
            return
        port.ready = True
        self.ready.set()
        log.info("Ready: invite %s to a room", bot)
        self._later(Management(pool, client, self._config, self.world()).keep())
        for agent in everyone[1:]:
            await persona.keep(agent.name)
        while True:
            await catch_up.run(everyone)
            await port.refused.wait()
            # What we refused while the database was away is sent again late, or with the next
            # event only (Conduit), unless we ask for it.
            await reachable(pool)
            port.refused.clear()


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (exc := task.exception()):
        log.error("A task of the service failed: %s", exc, exc_info=exc)


def services_of(pool: Pool, config: Config, keeper: Keeper, persona: Persona) -> dict[type, Any]:
    """What tools and turns may ask for, by its type."""
    companies, workspaces, images = Companies(pool, config), Workspaces(config), Images()
    return {
        Companies: companies,
        Keeper: keeper,
        Recollection: Recollection(pool, companies, lambda: keeper.embedders),
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


def _handlers(means: Means, rooms: Rooms, wake: Callable[[], None]) -> dict[str, Handler]:
    """Who handles which kind of inbox item."""

    def matrix(handle: Callable[[Item], Awaitable[None]]) -> Handler:
        async def handler(item: Item, _: Lease) -> bool:
            await handle(item)
            return False

        return handler

    def remembered(handle: Handler) -> Handler:
        async def handler(item: Item, lease: Lease) -> bool:
            try:
                return await handle(item, lease)
            finally:
                wake()

        return handler

    return {
        "message": remembered(partial(turn.answer, means)),
        "command": partial(commands.run, means),
        "approval": partial(approvals.answer, means),
        "edit": partial(corrections.edit, means),
        "redaction": remembered(partial(corrections.withdraw, means)),
        "condense": partial(condense.condense, means),
        upkeep.KIND: partial(upkeep.condense, means),
        "admin": partial(room.handle, means),
        "invite": matrix(rooms.invited),
        "decline": matrix(rooms.unwanted),
        "arrived": matrix(rooms.settle),
        "unsorted": matrix(rooms.settle),
        "encrypted": matrix(rooms.encrypted),
    }
