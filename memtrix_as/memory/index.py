"""The index: what agents remember, kept in step with the texts, embedded in the background."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from memtrix_as.db import passages as rows
from memtrix_as.db import vectors
from memtrix_as.db.hybrid import GRAPH_FROM
from memtrix_as.db.passages import Change, Origin
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.errors import ConfigError
from memtrix_as.memory.embedder import Embedder
from memtrix_as.memory.passages import Passage, Said, cut_conversation, cut_journal, date_words
from memtrix_as.memory.words import words

# Questions with their answers, each of another matter.
_PROBES = (
    ("When does the ferry leave?", "Anna: The ferry to the island leaves at seven."),
    ("What is the dog allergic to?", "Ben: The vet says that our dog must not eat chicken."),
    ("Which database did we choose?", "We decided for PostgreSQL, because it holds vectors too."),
    ("Who plays the violin?", "Clara: My sister has played the violin since she was six."),
    ("How much was the rent?", "The new flat costs 900 euros a month, heating included."),
    ("Where did they hike last summer?", "In July we walked along the ridge for three days."),
)

BATCH = 32  # passages embedded between two looks at what waits


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the vectors are; words are always complete."""

    done: int
    total: int


def journal_source(day: date, people: Sequence[str], room_id: str | None) -> str:
    """What everybody may know of a day is one text, and what these people may know another."""
    name = f"journal {day.isoformat()}"
    if "*" in people and room_id is None:
        return name
    whole = "\0".join((room_id or "", *sorted(set(people))))
    return f"{name} {hashlib.sha256(whole.encode('utf-8', 'replace')).hexdigest()[:12]}"


def conversation_source(room_id: str, day: date) -> str:
    return f"room {room_id} {day.isoformat()}"


async def keep_journal(
    db: Connection | Pool,
    agent: str,
    day: date,
    markdown: str,
    people: Sequence[str],
    room_id: str | None = None,
    events: Mapping[int, Sequence[str]] | None = None,
) -> Change:
    """Index what these people may know of a day's journal, as it now is; nothing leaves the index.

    `events` are the messages that a line, counted from 1, was made of. On a connection, in its
    transaction: then journal and index never differ.
    """
    origin = Origin(agent, journal_source(day, people, room_id), room_id)
    found = await asyncio.to_thread(cut_journal, origin.source, day, markdown, people, events)
    return await _keep(db, origin, found)


async def keep_conversation(
    db: Connection | Pool,
    agent: str,
    room_id: str,
    said: Sequence[Said],
    day: date | None = None,
) -> Change:
    """Index all that was said in a room on one day; `day` is needed when that is nothing."""
    days = {message.at.date() for message in said} | ({day} if day else set())
    if len(days) != 1:
        raise ValueError("the messages of one day, or the day itself")
    origin = Origin(agent, conversation_source(room_id, days.pop()), room_id)
    found = await asyncio.to_thread(cut_conversation, origin.source, said)
    return await _keep(db, origin, found)


async def _keep(db: Connection | Pool, origin: Origin, found: Sequence[Passage]) -> Change:
    if hasattr(db, "acquire"):
        async with db.acquire() as connection, connection.transaction():
            return await _keep(connection, origin, found)
    known = await rows.hashes(db, origin)
    return await rows.write(db, origin, await asyncio.to_thread(_rows, found, known))


def _rows(passages: Sequence[Passage], known: Iterable[bytes]) -> list[rows.Row]:
    """Words are counted for what is new only: a long day is mostly known."""
    left = Counter(known)
    made = []
    for passage in passages:
        left[passage.hash] -= 1
        made.append(
            rows.Row(
                passage.start,
                passage.day,
                passage.heading,
                passage.parts,
                passage.indexed,
                passage.hash,
                {} if left[passage.hash] >= 0 else _counts(passage),
                passage.people,
                passage.messages,
                passage.events,
            )
        )
    return made


def _counts(passage: Passage) -> Counter[str]:
    return Counter(words(f"{date_words(passage.day)}\n{passage.indexed}"))


class Vectors:
    """Gives passages their vectors. Whoever runs it calls `step` until it returns nothing.

    A crash loses the batch under way and nothing else: what waits is seen in the tables. Two
    that run at once do the same work twice, and store it once.
    """

    def __init__(self, pool: Pool, embedder: Embedder) -> None:
        self._pool = pool
        self._embedder = embedder
        self._space = 0
        self._dimensions = 0

    async def load(self, *, makes: bool = True) -> None:
        """Load the model and find the space of its vectors; ConfigError, ModelError.

        Whoever `makes` no vectors leaves it to who does to make the space.
        """
        self._dimensions = await self._embedder.load()
        if self._dimensions > vectors.MOST_DIMENSIONS:
            raise ConfigError(
                f"embeddings.model: {self._embedder.name} makes vectors of {self._dimensions} "
                f"dimensions; the database can index at most {vectors.MOST_DIMENSIONS}."
            )
        found = await vectors.find_space(self._pool, self._embedder.name, self._dimensions)
        self._space = found or (await self._new_space() if makes else 0)

    async def follow(self) -> None:
        """See whether another process has begun all vectors anew."""
        newest = await vectors.find_space(self._pool, self._embedder.name, self._dimensions)
        self._space = newest or self._space

    async def step(self) -> int:
        """Embed the next passages that wait; returns how many were done."""
        if not self._space:
            await self.load()
        space = self._space  # it may be renewed meanwhile
        waiting = await vectors.waiting(self._pool, space, BATCH)
        if not waiting:
            await self._settle(space)
            return 0
        made = await self._embedder.embed_documents([passage.text for passage in waiting])
        pairs = zip(waiting, made, strict=True)
        await vectors.add(self._pool, space, [(p.id, vector) for p, vector in pairs])
        return len(waiting)

    async def renew(self) -> None:
        """Begin all vectors anew, while the old ones serve; go on where that was begun before."""
        await self.load()
        if await vectors.served(self._pool, self._space):
            self._space = await self._new_space()

    async def renewed(self) -> bool:
        """Whether the newest vectors serve: all passages have theirs."""
        return await vectors.served(self._pool, self._space)

    async def _new_space(self) -> int:
        level = await background(self._embedder)
        return await vectors.new_space(self._pool, self._embedder.name, self._dimensions, level)

    async def progress(self) -> Progress:
        missing, total = await vectors.missing(self._pool, self._space)
        return Progress(total - missing, total)

    async def _settle(self, space: int) -> None:
        """All passages have their vector: they serve from now on, and older ones go."""
        if await vectors.largest(self._pool) >= GRAPH_FROM and not await vectors.has_graph(
            self._pool, space
        ):
            await vectors.build_graph(self._pool, space, self._dimensions)
        for old in await vectors.complete(self._pool, space):
            await vectors.drop(self._pool, old)


async def background(embedder: Embedder) -> float:
    """The mean cosine of questions and answers that do not belong together."""
    asked = [await embedder.embed_query(question) for question, _ in _PROBES]
    told = await embedder.embed_documents([answer for _, answer in _PROBES])
    cosines = [
        sum(x * y for x, y in zip(question, answer, strict=True))
        for n, question in enumerate(asked)
        for m, answer in enumerate(told)
        if n != m
    ]
    return min(0.9, max(0.0, sum(cosines) / len(cosines)))
