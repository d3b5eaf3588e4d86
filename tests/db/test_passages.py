"""Passages in the database: their words, what BM25 makes of them, and who may see them."""

import asyncio
import math
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest

from memtrix_as.db import hybrid, passages, vectors
from memtrix_as.db.hybrid import Query
from memtrix_as.db.passages import Change, Origin, Place, Row
from memtrix_as.db.vectors import Space
from tests.rig.database import Database
from tests.rig.memories import two_agents

DAY = date(2026, 5, 1)
ANNA, BEN = "@anna:memtrix.local", "@ben:memtrix.local"


def row(text: str, start: int = 0, people: tuple[str, ...] = (ANNA,), day: date = DAY) -> Row:
    return Row(
        start, day, "", [text], text, f"{day}{people}{text}".encode(), Counter(text.split()), people
    )


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Any]:
    async with two_agents(database.dsn) as pool:
        yield pool


async def write(pool: Any, *texts: str, source: str = "journal", agent: str = "memtrix") -> Change:
    return await passages.write(
        pool, Origin(agent, source), [row(text, n) for n, text in enumerate(texts)]
    )


async def found(pool: Any, text: str, **options: Any) -> list[str]:
    query = Query(options.pop("agent", "memtrix"), text.split(), **options)
    return [" ".join(hit.parts) for hit in await hybrid.find(pool, query)]


async def counts_are_right(pool: Any) -> bool:
    """The kept statistics against counting everything anew."""
    wrong = await pool.fetchval(
        """
        select count(*) from (
            select agent, count(*)::int, sum(length)::bigint from passages group by agent
            except select agent, passages, length from memories) a
        """
    )
    wrong += await pool.fetchval(
        """
        select count(*) from terms t where t.passages is distinct from
            (select count(*) from postings p where p.term = t.id)
        """
    )
    wrong += await pool.fetchval(
        """
        select count(*) from (
            (select term, passage from postings
             except select unnest(words), id from passages) union all
            (select unnest(words), id from passages except select term, passage from postings)) a
        """
    )
    return bool(wrong == 0)


async def test_what_is_written_is_found_at_once(pool: Any) -> None:
    change = await write(pool, "the boat is called Nessie", "we had soup")
    assert change == Change(added=2)
    assert await found(pool, "boat") == ["the boat is called Nessie"]


async def test_what_is_taken_out_is_not_found(pool: Any) -> None:
    await write(pool, "the boat is called Nessie", "we had soup")
    assert await write(pool, "we had soup") == Change(removed=1, kept=1)
    assert await found(pool, "boat") == []
    assert not await pool.fetch("select from terms where term = 'Nessie'")
    assert await counts_are_right(pool)


async def test_a_changed_text_is_found_by_its_new_words_only(pool: Any) -> None:
    await write(pool, "the boat is green")
    await write(pool, "the boat is red")
    assert await found(pool, "green") == []
    assert await found(pool, "red") == ["the boat is red"]


async def test_what_stays_keeps_its_vector(pool: Any) -> None:
    await write(pool, "one", "two")
    space = await vectors.new_space(pool, "model", 2, 0.0)
    waiting = await vectors.waiting(pool, space, 10)
    await vectors.add(pool, space, [(passage.id, [1.0, 0.0]) for passage in waiting])
    await write(pool, "zero", "one", "two")
    assert [passage.text for passage in await vectors.waiting(pool, space, 10)] == ["zero"]


async def test_scores_are_bm25(pool: Any) -> None:
    """Against the formula, written down a second time."""
    chance = random.Random(5)
    texts = [
        " ".join(chance.choices("abcdefgh", [8, 7, 6, 5, 4, 3, 2, 1], k=chance.randint(3, 30)))
        for _ in range(40)
    ]
    await write(pool, *texts)
    documents = [Counter(text.split()) for text in texts]
    mean = sum(map(len, map(str.split, texts))) / len(texts)

    def idf(word: str) -> float:
        having = sum(word in document for document in documents)
        return math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))

    def bm25(document: Counter[str], words: str) -> float:
        length = 1.2 * (1 - 0.75 + 0.75 * document.total() / mean)
        return sum(idf(w) * document[w] / (document[w] + length) for w in set(words.split()))

    for words in ("a h", "c e g", "b nowhere"):
        hits = await hybrid.find(pool, Query("memtrix", words.split()))
        ideal = sum(map(idf, words.split()))
        expected = sorted((bm25(document, words) / ideal for document in documents), reverse=True)
        expected = [score for score in expected if score > 0]
        assert [hit.covered for hit in hits] == pytest.approx(expected[: len(hits)], rel=1e-4)
        assert len(hits) == min(len(expected), 60)


async def test_without_a_vector_words_must_do(pool: Any) -> None:
    await write(pool, "the boat", "the house")
    space = await vectors.new_space(pool, "model", 2, 0.0)
    boat = (await vectors.waiting(pool, space, 10))[-1]
    assert boat.text == "the boat"
    await vectors.add(pool, space, [(boat.id, [1.0, 0.0])])
    near = {"vector": [1.0, 0.0], "space": space}
    assert await found(pool, "house", **near, weight=0.0) == ["the house", "the boat"]
    assert await found(pool, "nothing", **near) == ["the boat"]
    assert await found(pool, "house") == ["the house"]


async def test_an_agent_has_its_own_memory(pool: Any) -> None:
    await write(pool, "the boat", agent="coder")
    assert await found(pool, "boat") == []
    assert await found(pool, "boat", agent="coder") == ["the boat"]


async def test_everyone_present_must_have_been_there(pool: Any) -> None:
    await passages.write(
        pool,
        Origin("memtrix", "room"),
        [row("a boat for Anna", 0, (ANNA,)), row("a boat for all", 1, (BEN, ANNA))],
    )
    space = await vectors.new_space(pool, "model", 2, 0.0)
    for waiting in await vectors.waiting(pool, space, 10):
        await vectors.add(pool, space, [(waiting.id, [1.0, 0.0])])
    for near in ({}, {"vector": [1.0, 0.0], "space": space}):
        assert len(await found(pool, "boat", people=[ANNA], **near)) == 2
        assert await found(pool, "boat", people=[BEN], **near) == ["a boat for all"]
        assert await found(pool, "boat", people=[ANNA, BEN], **near) == ["a boat for all"]
        assert await found(pool, "boat", people=[ANNA, "@eve:else"], **near) == []
        assert len(await found(pool, "boat", people=[], **near)) == 2
    around = await passages.around(pool, "memtrix", [Place("room", 0, 1)], [BEN])
    assert around == {Place("room", 0, 1): {1: "a boat for all"}}


async def test_days_can_be_asked_for(pool: Any) -> None:
    later = date(2026, 6, 1)
    await passages.write(
        pool, Origin("memtrix", "room"), [row("old boat"), row("new boat", 1, day=later)]
    )
    assert await found(pool, "boat", first=later) == ["new boat"]
    assert await found(pool, "boat", last=DAY) == ["old boat"]
    assert await found(pool, "boat", first=date(2026, 7, 1)) == []


async def test_writers_at_once_count_right(pool: Any) -> None:
    chance = random.Random(1)

    async def busy(source: str) -> None:
        for _ in range(10):
            texts = [" ".join(chance.choices("abcdefghij", k=8)) for _ in range(5)]
            await write(pool, *dict.fromkeys(texts), source=source)

    await asyncio.gather(*(busy(f"source {n}") for n in range(6)))
    assert await counts_are_right(pool)
    await pool.execute("delete from passages where source < 'source 3'")
    assert await counts_are_right(pool)


async def test_a_deleted_agent_leaves_nothing(pool: Any) -> None:
    await write(pool, "the boat", agent="coder")
    await pool.execute("delete from agents where name = 'coder'")
    for table in ("passages", "terms", "postings", "memories"):
        assert not await pool.fetch(f"select from {table}")


async def test_a_graph_finds_what_an_exact_search_finds(pool: Any) -> None:
    chance = random.Random(2)
    await write(pool, *(f"text{n}" for n in range(300)))
    space = await vectors.new_space(pool, "model", 8, 0.0)
    waiting = await vectors.waiting(pool, space, 300)
    await vectors.add(pool, space, [(p.id, _unit(chance)) for p in waiting])
    await vectors.build_graph(pool, space, 8)
    assert await vectors.has_graph(pool, space)
    query = Query("memtrix", [], vector=_unit(chance), space=space, limit=10)
    exact = await hybrid.find(pool, query, graph=False)
    assert await hybrid.find(pool, query, graph=True) == exact
    await vectors.drop(pool, space)
    assert not await pool.fetch("select from vectors")


async def test_another_model_takes_over_when_it_is_complete(pool: Any) -> None:
    await write(pool, "the boat")
    old = await vectors.new_space(pool, "old", 2, 0.0)
    assert await vectors.complete(pool, old) == []
    new = await vectors.new_space(pool, "new", 3, 0.0)
    assert await vectors.serving(pool, ["old", "new"]) == Space(old, "old", 0.0)
    assert await vectors.serving(pool, ["new"]) == Space(new, "new", 0.0)
    assert await vectors.complete(pool, new) == [old]
    assert await vectors.serving(pool, ["old", "new"]) == Space(new, "new", 0.0)


async def test_an_event_can_be_forgotten(pool: Any) -> None:
    said = Row(0, DAY, "", ["the boat"], "the boat", b"1", {"boat": 1}, (ANNA,), [7], ["$a"])
    await passages.write(pool, Origin("memtrix", "room", "!r"), [said])
    async with pool.acquire() as connection, connection.transaction():
        await passages.forget_event(connection, "!other", "$a")
    assert await found(pool, "boat")
    async with pool.acquire() as connection, connection.transaction():
        await passages.forget_event(connection, "!r", "$a")
    assert await found(pool, "boat") == []


def _unit(chance: random.Random) -> list[float]:
    vector = [chance.gauss(0, 1) for _ in range(8)]
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]
