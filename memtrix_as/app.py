"""The composition root: opens database, models and homeserver, and closes them in order."""

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path

from memtrix_as import database
from memtrix_as.admin import confirm
from memtrix_as.agent.nightly import Nightly
from memtrix_as.agent.people import People
from memtrix_as.agent.upkeep import Upkeep
from memtrix_as.config import Config
from memtrix_as.db import agents
from memtrix_as.db.pool import DOWN, Pool, connect, reachable
from memtrix_as.engine import Engine, log_failure, migrated
from memtrix_as.errors import ConfigError, HomeserverError
from memtrix_as.foreign import Broken
from memtrix_as.matrix import aftermath
from memtrix_as.matrix.appservice import TransactionPort
from memtrix_as.matrix.catchup import CatchUp
from memtrix_as.matrix.management import Management

log = logging.getLogger(__name__)

OTHERS_FIRST = 2.0  # seconds


class App:
    """The application service, from `start` to `stop`; `path` is the file of its configuration.

    Without `turns` it leaves them to workers.
    """

    def __init__(self, config: Config, path: Path | None = None, *, turns: bool = True) -> None:
        self._config = config
        self._turns = turns
        self._stack = AsyncExitStack()
        self._engine = Engine(config, path, self._stack)
        self._joining: asyncio.Task[None] | None = None
        self.measures = self._engine.measures
        self.ready = asyncio.Event()
        self.caught_up = False

    @property
    def people(self) -> People:
        """The agents, once started."""
        return self._engine.people

    @property
    def broken(self) -> tuple[Broken, ...]:
        """Files and packages with tools or providers that cannot be used."""
        return self._engine.broken

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
        config, engine = self._config, self._engine
        dsn, pool = await self._database()
        await engine.build(dsn, pool, turns=self._turns)
        port = TransactionPort(config, engine.store)
        await self._listen(port)
        await aftermath.settle(engine.client, pool)
        await engine.watched(
            lambda: {"homeserver": self.ready.is_set(), "caught_up": self.caught_up}
        )
        await engine.start()
        engine.beside(confirm.Expiry(pool, config.limits.approval_timeout).run())
        engine.beside(Nightly(pool, config).run())
        if config.memory.upkeep:
            engine.beside(Upkeep(pool, config.memory.upkeep).run())
        self._joining = asyncio.create_task(self._join(port, pool))
        self._joining.add_done_callback(log_failure)

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
            await port.stop()
            raise ConfigError(
                f"appservice.port: cannot listen on {service.hostname}:{service.port} "
                f"({exc.strerror or exc}); is the service running already?"
            ) from exc
        self._stack.push_async_callback(port.stop)

    async def stop(self) -> None:
        """Let turns come to a rest, and close everything."""
        if self._joining:
            self._joining.cancel()
            await asyncio.gather(self._joining, return_exceptions=True)
        await self._stack.aclose()

    async def _join(self, port: TransactionPort, pool: Pool) -> None:
        """Make ourselves known to the homeserver, then take what it still has for us."""
        config, engine = self._config, self._engine
        try:
            await engine.puppets.reconcile()
        except HomeserverError as exc:
            log.error("%s", exc)
            return
        port.ready = True
        self.ready.set()
        bot = f"@{config.appservice.bot_username}:{config.homeserver.domain}"
        log.info("Ready: invite %s to a room", bot)
        await engine.people.go_on()
        engine.beside(self._attend())
        management = Management(pool, engine.client, config, engine.directory.world())
        engine.beside(management.keep())
        catch_up = CatchUp(config, engine.client, engine.store, pool)
        # Where the way between us was cut, it could not reach us either.
        engine.client.returned = port.refused.set
        while True:
            port.taken.clear()
            await catch_up.run(await agents.load(pool))
            self.caught_up = True
            for pause in catch_up.pauses:
                if await _set_within(port.refused, pause):
                    break
                if port.taken.is_set() and catch_up.pushes_all_or_none:
                    break
                await catch_up.run(await agents.load(pool), again=True)
            await port.refused.wait()
            # What we refused while the database was away, or what could not reach us, is sent
            # again late, or with the next event only (Conduit), unless we ask for it.
            await reachable(pool)
            port.refused.clear()

    async def _attend(self) -> None:
        """Make true in Matrix what was changed where only the database is at hand, as a terminal.

        Whoever can do it does it at once; this comes after it, and finds nothing to do.
        """
        engine = self._engine
        while True:
            await engine.changed.wait()
            await asyncio.sleep(OTHERS_FIRST)
            engine.changed.clear()
            try:
                await engine.puppets.agree()
                await engine.people.go_on()
            except HomeserverError as exc:  # the main agent's; the others' are told and passed over
                log.error("%s", exc)
            except DOWN as exc:
                log.warning("Agents wait for the database: %s", exc)
                await reachable(engine.pool)
                engine.changed.set()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
