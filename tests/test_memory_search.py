"""Memory from the told to the found: indexed, embedded, searched, on a real database."""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from memtrix_as.db.hybrid import Found
from memtrix_as.db.passages import forget_event
from memtrix_as.errors import ModelBroken
from memtrix_as.memory import index
from memtrix_as.memory.embedder import Vector
from memtrix_as.memory.passages import Said
from memtrix_as.memory.search import Hit, choose, fitting, search
from memtrix_as.memory.words import words
from tests.rig.database import Database
from tests.rig.memories import two_agents

ANNA, BEN = "@anna:memtrix.local", "@ben:memtrix.local"
MAY = date(2026, 5, 1)
ROOM, OTHER = "!one:memtrix.local", "!two:memtrix.local"


class Meaning:
    """An embedder whose vectors are sums of a random one for each word; `broken` and `slow`."""

    def __init__(self, name: str = "meaning", dimensions: int = 64) -> None:
        self.name, self.dimensions = name, dimensions
        self.ready = False
        self.broken = False
        self.embedded = 0

    async def load(self) -> int:
        self.ready = True
        return self.dimensions

    async def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        await asyncio.sleep(0)
        if self.broken:
            raise ModelBroken("The embedding model is broken.")
        self.embedded += len(texts)
        return [self._vector(text) for text in texts]

    async def embed_query(self, text: str) -> Vector:
        return (await self.embed_documents([text]))[0]

    async def close(self) -> None:
        self.ready = False

    def _vector(self, text: str) -> Vector:
        total = [1e-6] * self.dimensions
        for word in words(text):
            chance = random.Random(f"{self.name} {word}")
            total = [x + chance.gauss(0, 1) for x in total]
        length = math.sqrt(sum(x * x for x in total))
        return [x / length for x in total]


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Any]:
    async with two_agents(database.dsn) as pool:
        yield pool


async def told(
    pool: Any,
    *texts: str,
    room: str = ROOM,
    day: date = MAY,
    people: tuple[str, ...] = (ANNA,),
    agent: str = "memtrix",
) -> None:
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    said = [
        Said(n, "Anna", text, at + timedelta(minutes=n), f"${room}{day}{n}", people)
        for n, text in enumerate(texts)
    ]
    await index.keep_conversation(pool, agent, room, said, day)


async def embed(pool: Any, embedder: Meaning) -> index.Vectors:
    vectors = index.Vectors(pool, embedder)
    while await vectors.step():
        pass
    return vectors


async def ask(
    pool: Any, question: str, embedder: Meaning | None = None, **options: Any
) -> list[Hit]:
    options = {"agent": "memtrix", "people": [ANNA], **options}
    return await search(pool, [embedder] if embedder else [], question, **options)


SMALL_TALK = ("How was your weekend?", "We had soup with the neighbours.", "It rained all day.")


async def test_a_told_fact_is_found_with_its_day_and_event(pool: Any) -> None:
    await told(pool, *SMALL_TALK, day=date(2026, 4, 1))
    await told(pool, "Hello!", "Our boat is called Nessie.", "Nice name.", room=OTHER)
    embedder = Meaning()
    await embed(pool, embedder)
    for by in (None, embedder):
        hit = (await ask(pool, "What is the name of the boat?", by))[0]
        assert (hit.day, hit.room_id, hit.event) == (MAY, OTHER, f"${OTHER}{MAY}1")
        assert "Our boat is called Nessie." in hit.text


async def test_it_is_found_before_the_model_is_ready(pool: Any) -> None:
    await told(pool, "Our boat is called Nessie.")
    sleeping = Meaning()
    assert (await ask(pool, "boat", sleeping))[0].day == MAY
    assert sleeping.embedded == 0


async def test_it_is_found_while_the_model_is_broken(pool: Any) -> None:
    await told(pool, "Our boat is called Nessie.")
    embedder = Meaning()
    await embed(pool, embedder)
    embedder.broken = True
    assert (await ask(pool, "boat", embedder))[0].day == MAY


async def test_a_correction_comes_before_what_it_corrects(pool: Any) -> None:
    await told(pool, "The dentist is on Tuesday at nine.")
    await told(pool, "The dentist is on Friday at nine.", day=date(2026, 5, 9))
    embedder = Meaning()
    await embed(pool, embedder)
    for by in (None, embedder):
        hits = await ask(pool, "When is the dentist?", by)
        assert [hit.day.day for hit in hits] == [9, 1]


async def test_the_end_of_a_long_day_is_found(pool: Any) -> None:
    lines = [f"- Note {n}: nothing of importance, as on every other day." for n in range(200)]
    lines.insert(180, "- The cake needs cardamom and 250 g of butter.")
    await index.keep_journal(pool, "memtrix", MAY, "## Notes\n" + "\n".join(lines), [ANNA])
    hit = (await ask(pool, "What spice does the cake need?"))[0]
    assert "cardamom" in hit.text and len(hit.text) < 3000
    assert (hit.heading, hit.event) == ("Notes", None)


@pytest.mark.parametrize(
    "question",
    ["IBAN DE89370400440532013000", "who is Zaphod?", "4711", "Wie heißt das Café in Łódź?"],
)
async def test_names_numbers_and_rare_words_are_found(pool: Any, question: str) -> None:
    await told(pool, *SMALL_TALK * 5)
    await told(
        pool,
        "My IBAN is DE89370400440532013000.",
        "Zaphod is our cat.",
        "The code of the door is 4711.",
        "In Łódź gehe ich ins Café Central.",
        room=OTHER,
    )
    assert (await ask(pool, question))[0].room_id == OTHER


async def test_nothing_fits(pool: Any) -> None:
    assert await ask(pool, "Where did I park the car?") == []
    await told(pool, *SMALL_TALK)
    embedder = Meaning()
    await embed(pool, embedder)
    for by in (None, embedder):
        assert await ask(pool, "Which vaccinations are missing?", by) == []
        assert await ask(pool, "?", by) == []


async def test_other_agents_and_other_humans_do_not_find_it(pool: Any) -> None:
    await told(pool, "Our boat is called Nessie.")
    assert await ask(pool, "boat", agent="coder") == []
    assert await ask(pool, "boat", people=[BEN]) == []
    assert await ask(pool, "boat", people=[ANNA, BEN]) == []
    assert await ask(pool, "boat", people=None)


async def test_neighbours_do_not_pass_the_wall(pool: Any) -> None:
    at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    said = [
        Said(1, "Anna", "A secret.", at, "$1", (ANNA,)),
        Said(2, "Anna", "Ben, our boat is called Nessie.", at, "$2", (ANNA, BEN)),
    ]
    await index.keep_conversation(pool, "memtrix", ROOM, said)
    assert "secret" not in (await ask(pool, "boat", people=[BEN]))[0].text
    assert "secret" in (await ask(pool, "boat"))[0].text


async def test_what_is_taken_back_is_gone(pool: Any) -> None:
    await told(pool, "Our boat is called Nessie.", "And the dinghy Rubber Duck.")
    async with pool.acquire() as connection, connection.transaction():
        await forget_event(connection, ROOM, f"${ROOM}{MAY}0")
    assert await ask(pool, "boat") == []
    await index.keep_journal(pool, "memtrix", MAY, "- A boat.", [ANNA])
    await index.keep_journal(pool, "memtrix", MAY, "", [ANNA])
    assert await ask(pool, "boat") == []


async def test_an_index_is_part_of_the_transaction(pool: Any) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await index.keep_journal(connection, "memtrix", MAY, "- A boat.", [ANNA])
        await transaction.rollback()
    assert await ask(pool, "boat") == []


async def test_only_what_is_new_is_embedded(pool: Any) -> None:
    text = "\n".join(f"- Entry {n} " + "of some length " * 12 for n in range(20))
    await index.keep_journal(pool, "memtrix", MAY, text, [ANNA])
    embedder = Meaning()
    vectors = await embed(pool, embedder)
    before = embedder.embedded
    await index.keep_journal(pool, "memtrix", MAY, text + "\n- One more.", [ANNA])
    while await vectors.step():
        pass
    assert embedder.embedded == before + 1


async def test_what_a_crash_left_is_embedded_once(pool: Any) -> None:
    for day in range(1, 20):
        await told(pool, *SMALL_TALK * 10, day=date(2026, 5, day))
    embedder = Meaning()
    await index.Vectors(pool, embedder).step()
    total = (await embed(pool, embedder)).progress
    done = await total()
    assert done.done == done.total == embedder.embedded - 12  # the questions that calibrate


async def test_another_model_takes_over_without_a_gap(pool: Any) -> None:
    await told(pool, "Our boat is called Nessie.")
    old, new = Meaning("old"), Meaning("new", 32)
    await embed(pool, old)
    vectors = index.Vectors(pool, new)
    await vectors.load()
    assert await search(pool, [new, old], "boat", agent="memtrix", people=[ANNA])
    assert new.embedded == 12 and old.embedded == 12 + 1 + 1
    await embed(pool, new)
    assert await search(pool, [new, old], "boat", agent="memtrix", people=[ANNA])
    assert old.embedded == 14
    assert [row["model"] for row in await pool.fetch("select model from spaces")] == ["new"]


async def test_an_index_made_anew_replaces_the_old_one(pool: Any) -> None:
    await told(pool, "Our boat is called Nessie.")
    embedder = Meaning()
    vectors = await embed(pool, embedder)
    await vectors.renew()
    assert (await vectors.progress()) == index.Progress(0, 1)
    while await vectors.step():
        pass
    assert (await vectors.progress()) == index.Progress(1, 1)
    assert await pool.fetchval("select count(*) from spaces") == 1


def found(n: int, score: float, day: int = 1, start: int = 0, covered: float = 1.0) -> Found:
    when = date(2026, 5, day)
    return Found(n, "source", start, when, "", ["a", "b"], [], [], None, score, covered, None)


def test_hits_do_not_overlap() -> None:
    chosen = choose([found(1, 1.0), found(2, 0.9, start=1), found(3, 0.8, start=2)], [], 5)
    assert [f.id for f in chosen] == [1, 3]


def test_several_days_come_before_one_day_again() -> None:
    passages = [found(1, 1.0), found(2, 0.9, start=2), found(3, 0.85, day=2, start=4)]
    assert [f.id for f in choose(passages, [], 5)] == [1, 3, 2]


def test_a_named_day_is_preferred() -> None:
    passages = [found(1, 0.9), found(2, 0.88, day=2, start=4)]
    first_of_may = [(date(2026, 5, 1), date(2026, 5, 1))]
    assert [f.id for f in choose(passages, first_of_may, 5)] == [1, 2]


def test_the_best_decides_whether_anything_fits() -> None:
    good, poor, bad = (found(n, 1.0, covered=c) for n, c in enumerate((0.5, 0.05, 0.01)))
    assert fitting([good, poor, bad]) == [good, poor]
    assert fitting([poor, bad]) == []
    assert fitting([]) == []


async def test_the_same_words_twice_are_counted_twice(pool: Any) -> None:
    await index.keep_journal(pool, "memtrix", MAY, "## A\n- A boat.\n## B\n- A car.", [ANNA])
    twice = "## A\n- A boat.\n## B\n- A car.\n## A\n- A boat."
    await index.keep_journal(pool, "memtrix", MAY, twice, [ANNA])
    counted = (
        "select (select count(*) from passages where 'A boat.' = any(parts) or parts[1] ~ 'boat')"
    )
    counted += " = (select passages from terms where term = 'boat')"
    assert await pool.fetchval(counted)
