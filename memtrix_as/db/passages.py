"""Passages of memory as rows: written with their words, so that they are found at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from memtrix_as.db.pool import Connection, Pool, clean


@dataclass(frozen=True, slots=True)
class Row:
    """A passage to be stored; `counts` says how often each word occurs in it."""

    start: int
    day: date
    heading: str
    parts: Sequence[str]
    indexed: str
    hash: bytes
    counts: Mapping[str, int]
    people: Sequence[str] = ()  # the humans who may know it; '*' is everybody
    messages: Sequence[int] = ()
    events: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose passages they are, of which text, and of which room."""

    agent: str
    source: str
    room_id: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    added: int = 0
    removed: int = 0
    kept: int = 0


async def write(db: Connection | Pool, origin: Origin, rows: Sequence[Row]) -> Change:
    """Let the passages of a source be these, in one transaction with their words.

    Those that were there already stay as they are, with their vectors; no rows removes them all.
    """
    if hasattr(db, "acquire"):
        async with db.acquire() as connection, connection.transaction():
            return await write(connection, origin, rows)
    await lock(db, origin.agent)
    stored = await db.fetch(
        "select id, hash from passages where agent = $1 and source = $2 order by start",
        origin.agent,
        origin.source,
    )
    free: dict[bytes, list[int]] = {}
    for found in stored:
        free.setdefault(found["hash"], []).append(found["id"])
    kept: list[tuple[int, Row]] = []
    new: list[Row] = []
    for row in rows:
        if ids := free.get(row.hash):
            kept.append((ids.pop(0), row))
        else:
            new.append(row)
    gone = await db.fetch(
        "delete from passages where agent = $1 and source = $2 and id <> all($3) returning id",
        origin.agent,
        origin.source,
        [passage for passage, _ in kept],
    )
    await _move(db, kept)
    await _add(db, origin, new)
    return Change(len(new), len(gone), len(kept))


async def lock(connection: Connection, agent: str) -> None:
    """Writers of one agent's memory go one after the other: they count the same words."""
    await connection.execute(
        "insert into memories (agent) values ($1) on conflict do nothing", agent
    )
    await connection.execute("select from memories where agent = $1 for update", agent)


async def _audiences(connection: Connection, rows: Sequence[Row]) -> dict[tuple[str, ...], int]:
    """The ids of the sets of people; a set that is new gets one."""
    found = {}
    for people in {_people(row) for row in rows}:
        await connection.execute(
            "insert into audiences (people) select $1::text[] where not exists"
            " (select from audiences where people = $1) on conflict do nothing",
            people,
        )
        found[people] = await connection.fetchval(
            "select id from audiences where people = $1", people
        )
    return found


def _people(row: Row) -> tuple[str, ...]:
    return tuple(sorted(set(row.people)))


async def _move(connection: Connection, kept: Sequence[tuple[int, Row]]) -> None:
    """The same text may have got another place, and other messages and events."""
    await connection.executemany(
        """
        update passages set start = $2, messages = $3, events = $4
        where id = $1
          and (start, messages, events) is distinct from ($2, $3::bigint[], $4::text[])
        """,
        [(passage, *_place(row)) for passage, row in kept],
    )


def _place(row: Row) -> tuple[Any, ...]:
    return row.start, list(row.messages), list(row.events)


async def _add(connection: Connection, origin: Origin, rows: Sequence[Row]) -> None:
    if not rows:
        return
    audiences = await _audiences(connection, rows)
    known = await _terms(connection, origin.agent, rows)
    lengths = [sum(row.counts.values()) for row in rows]
    ids = await connection.fetchmany(
        """
        insert into passages (start, messages, events, agent, source, room_id, audience, day,
            heading, parts, indexed, hash, words, length)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) returning id
        """,
        [
            (
                *_place(row), origin.agent, origin.source, origin.room_id,
                audiences[_people(row)], row.day, clean(row.heading), clean(list(row.parts)),
                clean(row.indexed), row.hash,
                [known[word] for word in row.counts], length,
            )
            for row, length in zip(rows, lengths, strict=True)
        ],
    )  # fmt: skip
    postings = [
        (known[word], found["id"], float(count), float(length))
        for found, row, length in zip(ids, rows, lengths, strict=True)
        for word, count in row.counts.items()
    ]
    await connection.copy_records_to_table("postings", records=postings)
    await connection.execute(
        """
        update terms t set passages = t.passages + new.n
        from (select id, count(*) as n from unnest($1::int[]) as id group by id) new
        where t.id = new.id
        """,
        [term for term, *_ in postings],
    )
    await connection.execute(
        "update memories set passages = passages + $2, length = length + $3 where agent = $1",
        origin.agent,
        len(rows),
        sum(lengths),
    )


async def _terms(connection: Connection, agent: str, rows: Sequence[Row]) -> dict[str, int]:
    """The ids of all words of the rows; new words get one."""
    words = sorted({word for row in rows for word in row.counts})
    await connection.execute(
        """
        insert into terms (agent, term)
        select $1, word from unnest($2::text[]) as word
        where not exists (select from terms where agent = $1 and term = word)
        """,
        agent,
        words,
    )
    found = await connection.fetch(
        "select term, id from terms where agent = $1 and term = any($2)", agent, words
    )
    return {row["term"]: row["id"] for row in found}


async def forget_event(connection: Connection, room_id: str, event_id: str) -> None:
    """Remove every passage that holds the event, from all agents' memories, until commit.

    What else was said there is to be cut anew.
    """
    found = await connection.fetch(
        """
        select distinct agent from passages where room_id = $1 and events @> array[$2]
        order by agent
        """,
        room_id,
        event_id,
    )
    for row in found:
        await lock(connection, row["agent"])
    await connection.execute(
        "delete from passages where room_id = $1 and events @> array[$2]", room_id, event_id
    )


async def sources(pool: Pool, agent: str) -> dict[str, int]:
    """The texts that an agent's memory holds, with the number of their passages."""
    rows = await pool.fetch(
        "select source, count(*) as n from passages where agent = $1 group by source", agent
    )
    return {row["source"]: row["n"] for row in rows}


@dataclass(frozen=True, slots=True)
class Place:
    """A range of parts of a source, both ends within."""

    source: str
    first: int
    last: int


async def around(
    pool: Pool, agent: str, places: Sequence[Place], people: Sequence[str] | None
) -> dict[Place, dict[int, str]]:
    """The parts at these places by their number, where all of the people may see them."""
    rows = await pool.fetch(
        """
        select w.place, p.start, p.parts
        from unnest($2::text[], $3::int[], $4::int[]) with ordinality
            as w (source, first, last, place)
        join passages p on p.agent = $1 and p.source = w.source and p.start <= w.last
            and p.start + cardinality(p.parts) > w.first
        where $5::text[] is null
           or p.audience = any (array(
               select id from audiences where people @> $5 or '*' = any(people)))
        """,
        agent,
        [place.source for place in places],
        [place.first for place in places],
        [place.last for place in places],
        None if people is None else sorted(set(people)),
    )
    found: dict[Place, dict[int, str]] = {place: {} for place in places}
    for row in rows:
        place = places[row["place"] - 1]
        for number, part in enumerate(row["parts"], row["start"]):
            if place.first <= number <= place.last:
                found[place][number] = part
    return found
