"""Keeps the index in step with what is said, and gives every passage its vector, aside."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime

from memtrix_as.config import Config
from memtrix_as.db import bell, conversations, vectors
from memtrix_as.db.conversations import Day, Line
from memtrix_as.db.pool import DOWN, Pool
from memtrix_as.errors import ConfigError, ModelError
from memtrix_as.memory import embedder as embedders
from memtrix_as.memory import index
from memtrix_as.memory.embedder import Embedder
from memtrix_as.memory.index import Progress, Vectors
from memtrix_as.memory.passages import Said

log = logging.getLogger(__name__)

TOGETHER = 0.2  # seconds in which turns that end are taken as one
SHARE = 0.1  # of the time may go into indexing while others speak: they are to be answered
DAYS = 20  # of conversation, indexed between two looks at what waits
MANY = 200  # passages that wait, from which on progress is told in the log
TELL_EVERY = 15.0  # seconds
NO_VECTORS = (
    "There are no vectors to make anew: `embeddings.model` is none, and memory is searched by "
    "words alone. Those are always complete."
)
RETRY = 60.0  # seconds, then twice as long each time, up to …
RETRY_LONGEST = 3600.0


class Keeper:
    """Indexes conversations once their turns have ended; embeds; tells how far it is.

    Nothing depends on its being quick: what waits is seen in the tables, so it may die at any
    point, and the next one goes on.
    """

    def __init__(self, pool: Pool, dsn: str, config: Config, *, embeds: bool = True) -> None:
        """`embeds`: gives passages their vectors too; else only questions, and another does it."""
        self._pool = pool
        self._embeds = embeds
        self._dsn = dsn
        self._config = config
        self._embedder = embedders.from_config(config)
        self._former: Embedder | None = None
        self._vectors = Vectors(pool, self._embedder) if self._embedder else None
        self._said = asyncio.Event()
        self._passages = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._told = 0.0
        self.trouble = ""  # why there are no vectors now

    @property
    def embedders(self) -> Sequence[Embedder]:
        """Those that may be asked for a question's vector."""
        return [e for e in (self._embedder, self._former) if e is not None]

    def start(self) -> None:
        """Begin, in tasks of its own."""
        works = [("Indexing what was said", self._index)]
        if self._vectors:
            works.append(("Embedding", self._embed))
            listening = bell.listen(self._dsn, bell.PASSAGES, self._passages.set)
            self._tasks.append(asyncio.create_task(listening))
        for name, work in works:
            self._tasks.append(asyncio.create_task(self._steadily(name, work)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for embedder in self.embedders:
            await embedder.close()

    def wake(self) -> None:
        """A turn has ended, or was changed."""
        self._said.set()

    async def renew(self) -> None:
        """Have all vectors made anew while the old ones serve; ConfigError where there are none."""
        if self._vectors is None:
            raise ConfigError(NO_VECTORS)
        if self.trouble:
            raise ConfigError(f"No vectors can be made now: {self.trouble}")
        await self._vectors.renew()
        self._passages.set()

    async def renewed(self) -> bool:
        """Whether all passages have the vector that `renew` began."""
        return self._vectors is None or await self._vectors.renewed()

    async def progress(self) -> tuple[Progress, int]:
        """How many passages have their vector, and how many turns wait to be cut into passages."""
        waiting = await conversations.count_stale(self._pool)
        if self._vectors:
            return await self._vectors.progress(), waiting
        return Progress(0, (await vectors.missing(self._pool, 0))[1]), waiting

    async def catch_up(self) -> None:
        """Index what waits, a bounded part of it, for who is about to end."""
        for day in await conversations.stale(self._pool, str(self._config.timezone), DAYS):
            await index_day(self._pool, day)

    async def _steadily(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work again after each trouble, less and less often."""
        pause = RETRY
        while True:
            began = time.monotonic()
            try:
                await work()
            except (ModelError, ConfigError) as exc:
                if str(exc) != self.trouble:
                    self.trouble = str(exc)
                    # To do without the library is a choice; anything else is trouble.
                    level = logging.INFO if str(exc) == embedders.INSTALL else logging.WARNING
                    log.log(level, "%s waits; memory is searched by words alone: %s", name, exc)
            except DOWN as exc:
                log.warning("%s waits for the database: %s", name, exc)
                pause = 2.0
            except Exception:  # memory: were it to end, nothing new would be remembered
                log.exception("%s failed; it is tried again", name)
            if time.monotonic() - began > RETRY_LONGEST:
                pause = RETRY
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_LONGEST)

    async def _index(self) -> None:
        """Cut what was said into passages, whenever a turn has ended."""
        while True:
            self._said.clear()
            began = time.monotonic()
            days = await conversations.stale(self._pool, str(self._config.timezone), DAYS)
            for day in days:
                await index_day(self._pool, day)
            spent = time.monotonic() - began
            if len(days) == DAYS:
                await self._tell("turns are still to be indexed", conversations.count_stale)
                if not self._said.is_set():
                    continue  # nobody has spoken meanwhile
            await self._said.wait()
            await asyncio.sleep(max(TOGETHER, spent / SHARE))

    async def _embed(self) -> None:
        assert self._vectors
        await self._remember_former()
        await self._vectors.load(makes=self._embeds)
        if self.trouble:
            log.info("The embedding model is there")
        self.trouble = ""
        while True:
            self._passages.clear()
            await self._vectors.follow()
            while self._embeds and await self._vectors.step():
                await self._tell("passages wait for their vector", self._missing)
            if self._embeds or await self._vectors.renewed():
                await self._forget_former()
            await self._passages.wait()

    async def _missing(self, _: Pool) -> int:
        assert self._vectors
        progress = await self._vectors.progress()
        return progress.total - progress.done

    async def _tell(self, what: str, count: Callable[[Pool], Awaitable[int]]) -> None:
        if time.monotonic() - self._told < TELL_EVERY:
            return
        self._told = time.monotonic()
        if (number := await count(self._pool)) >= MANY:
            log.info("Memory: %d %s", number, what)

    async def _remember_former(self) -> None:
        """While a new model's vectors are made, questions are put to the one before it."""
        assert self._embedder
        name = self._embedder.name
        former = await vectors.former(self._pool, name)
        if former is None or self._former is not None:
            return
        log.info("Memory is embedded anew by %s; %s serves meanwhile", name, former)
        self._former = embedders.named(self._config, former)
        if self._former:
            with suppress(ModelError, ConfigError):
                await self._former.load()

    async def _forget_former(self) -> None:
        former, self._former = self._former, None
        if former:
            log.info("All passages have their vector by the new model")
            await former.close()


async def index_day(pool: Pool, day: Day) -> None:
    """Bring one day of one room into the index as it now is, in one transaction."""
    async with pool.acquire() as connection, connection.transaction():
        lines = await conversations.take(connection, day)
        said = [_said(line, day) for line in lines]
        await index.keep_conversation(connection, day.agent, day.room_id, said, day.day)


def _said(line: Line, day: Day) -> Said:
    # In a room with several humans the words begin with the speaker's name already.
    text = line.text.removeprefix(f"{line.speaker}: ")
    at = datetime.combine(day.day, datetime.min.time())
    return Said(line.id, line.speaker, text, at, line.event, line.people)
