"""Search: what an agent remembers of a question, with the day and the place it was said."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from memtrix_as.db import hybrid, passages, vectors
from memtrix_as.db.hybrid import Found, Query
from memtrix_as.db.passages import Place
from memtrix_as.db.pool import Pool
from memtrix_as.errors import ConfigError, ModelError
from memtrix_as.memory.dates import dates, nearness
from memtrix_as.memory.embedder import Embedder
from memtrix_as.memory.passages import tokens
from memtrix_as.memory.words import telling, words

log = logging.getLogger(__name__)

PATIENCE = 2.0  # seconds that a question waits for its vector before words alone must do
WEIGHT = 0.5  # of the vectors in the score
DATED = 0.1  # what a passage of a day that the question names gains
REPEATED = 0.7  # what a passage keeps of its score for each better one of the same day
NEWER = 0.02  # what the newest day gains over the oldest: corrections come first
AROUND = 2  # neighbours on each side that are shown with a passage …
LONGEST = 600  # … unless it becomes longer than this, in tokens

# What the best passage must bring, as the share of the question's words that it covers (by their
# weight) and 0.6 of its cosine above what unrelated texts have with this model. Measured, see
# docs/memory.md: right answers have 0.41 and more, another's memory 0.31 in the middle.
LEAST = 0.3
LEAST_WORDS = 0.1  # the same of who asks where there is no vector: better too much than too little
NEARNESS = 0.6
STRAY = 0.3  # of that: what a passage must bring to be shown beside a better one


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that fits, with its neighbours.

    `event` in `room_id` is the message that fits best, or that a journal's entry was made of.
    """

    day: date
    heading: str
    text: str
    score: float
    source: str
    room_id: str | None
    event: str | None
    messages: tuple[int, ...]  # those that the passage itself is of, or was made of
    first: int  # the range of the source's parts that the text shows …
    last: int
    own: tuple[int, int]  # … and that of the passage within it
    id: int = 0  # of the passage


async def search(
    pool: Pool,
    embedders: Sequence[Embedder],
    question: str,
    *,
    agent: str,
    people: Sequence[str] | None,
    first: date | None = None,
    last: date | None = None,
    limit: int = 5,
    weight: float = WEIGHT,
    patience: float = PATIENCE,
    unasked: bool = False,
) -> list[Hit]:
    """What fits the question, best first; nothing when nothing does.

    `people` are the humans present: only what each of them may know is found; None asks without
    that wall, and [] stands for an agent on its own. `embedders` are those that may be asked, so
    that while a new model's vectors are made the old ones serve; one that is not ready is not
    waited for, and one that is longer than `patience` seconds about it is not either. What nobody
    has asked for (`unasked`) must fit as well by words alone as by words and meaning.
    """
    asked = words(question)
    query = Query(
        agent,
        asked,
        people=people,
        first=first,
        last=last,
        weight=weight,
        telling=telling(asked),
    )
    query, background = await _with_vector(pool, embedders, query, question, patience)
    found = fitting(await hybrid.find(pool, query), background, unasked=unasked)
    chosen = choose(found, dates(question), limit)
    return await _shown(pool, query, chosen)


def fitting(
    found: Sequence[Found], background: float = 0.0, *, unasked: bool = False
) -> list[Found]:
    """The passages that may answer; none when even the best is no nearer than chance.

    Their place among each other does not tell: somebody is always first. `background` is the
    cosine that unrelated texts have: 0.05 with some models, 0.5 with others.
    """
    searched = not unasked and all(f.cosine is None for f in found)
    least = LEAST_WORDS if searched else LEAST
    brought = {f.id: _evidence(f, background) for f in found}
    if max(brought.values(), default=0.0) < least:
        return []
    return [f for f in found if brought[f.id] >= least * STRAY]


def _evidence(found: Found, background: float) -> float:
    near = (found.cosine or 0.0) - background
    return found.covered + NEARNESS * max(0.0, near) / (1 - background)


def choose(found: Sequence[Found], asked: Sequence[tuple[date, date]], limit: int) -> list[Found]:
    """The best that do not overlap, one day's with growing reluctance: a memory is often
    answered from several days, and a passage's neighbours are shown with it."""
    ages = {day: n for n, day in enumerate(sorted({f.day for f in found}), 1)}
    left = [
        replace(f, score=f.score + DATED * nearness(f.day, asked) + NEWER * ages[f.day] / len(ages))
        for f in found
    ]
    chosen: list[Found] = []
    days: Counter[date] = Counter()
    while left and len(chosen) < limit:
        best = max(left, key=lambda f: f.score * REPEATED ** days[f.day])
        left.remove(best)
        if not any(_overlap(best, other) for other in chosen):
            chosen.append(replace(best, score=best.score * REPEATED ** days[best.day]))
            days[best.day] += 1
    return chosen


def _overlap(one: Found, other: Found) -> bool:
    return (
        one.source == other.source
        and one.start < other.start + len(other.parts)
        and other.start < one.start + len(one.parts)
    )


async def _with_vector(
    pool: Pool, embedders: Sequence[Embedder], query: Query, question: str, patience: float
) -> tuple[Query, float]:
    ready = {embedder.name: embedder for embedder in embedders if embedder.ready}
    serving = await vectors.serving(pool, list(ready)) if ready else None
    if serving is None:
        return query, 0.0
    try:
        async with asyncio.timeout(patience):
            vector = await ready[serving.model].embed_query(question)
    except (TimeoutError, ModelError, ConfigError) as exc:
        log.warning("Memory is searched by words alone: %s", exc or "the model is too slow")
        return query, 0.0
    return replace(query, vector=vector, space=serving.id), serving.background


async def _shown(pool: Pool, query: Query, chosen: Sequence[Found]) -> list[Hit]:
    """The passages with their neighbours; what two of them would both show, the better one does."""
    places = [
        Place(f.source, f.start - AROUND, f.start + len(f.parts) - 1 + AROUND) for f in chosen
    ]
    around = await passages.around(pool, query.agent, places, query.people) if places else {}
    asked = set(query.words)
    taken = {(f.source, n) for f in chosen for n in range(f.start, f.start + len(f.parts))}
    hits = []
    for found, place in zip(chosen, places, strict=True):
        own = dict(enumerate(found.parts, found.start))
        end = found.start + len(found.parts)
        before = range(found.start - 1, place.first - 1, -1)
        for side in (before, range(end, place.last + 1)):
            for number in side:
                part = around[place].get(number)
                size = sum(tokens(text) for text in own.values())
                if part is None or (found.source, number) in taken or size + tokens(part) > LONGEST:
                    break
                own[number] = part
                taken.add((found.source, number))
        hits.append(_hit(found, own, asked))
    return hits


def _hit(found: Found, parts: dict[int, str], asked: set[str]) -> Hit:
    event = None
    if any(found.events):
        fitting = [len(asked.intersection(words(part))) for part in found.parts]
        best = max(range(len(fitting)), key=fitting.__getitem__)
        event = found.events[best] or next(filter(None, found.events))
    numbers = sorted(parts)
    return Hit(
        found.day,
        found.heading,
        "\n".join(parts[number] for number in numbers),
        found.score,
        found.source,
        found.room_id,
        event,
        tuple(found.messages),
        numbers[0],
        numbers[-1],
        (found.start, found.start + len(found.parts) - 1),
        found.id,
    )
