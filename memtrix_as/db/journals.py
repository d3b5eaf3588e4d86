"""Journals: an agent's days as rows, one for each entry, with who may know it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from memtrix_as.db.pool import Connection, Pool

Author = Literal["agent", "upkeep", "import"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A bullet or a block of a day's journal; `id` is 0 as long as it is not stored."""

    section: str  # a heading, or '' before the first
    text: str  # markdown; empty for a heading that nothing stands under
    people: tuple[str, ...]  # the humans who may know it, sorted; '*' is everybody
    room_id: str | None = None
    messages: tuple[int, ...] = ()  # what it was made of …
    events: tuple[str, ...] = ()  # … and as Matrix knows it
    author: Author = "agent"
    turn_id: int | None = None
    imported: bool = False
    created_at: datetime | None = None  # None: now
    id: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """The message of a turn, and the humans who were there for it (None: not known)."""

    event_id: str
    message_id: int | None
    people: tuple[str, ...] | None
    started_at: datetime


async def live(
    db: Connection | Pool, agent: str, day: date, people: Sequence[str] | None = None
) -> list[Entry]:
    """A day's entries in order, of those that all of `people` may know; None: all of them."""
    rows = await db.fetch(
        """
        select section, text, people, room_id, messages, events, author, turn_id, imported,
            created_at, id
        from journal_entries
        where agent = $1 and day = $2 and removed_at is null
          and ($3::text[] is null or people @> $3 or '*' = any(people))
        order by place, id
        """,
        agent,
        day,
        None if people is None else sorted(set(people)),
    )
    lists = ("people", "messages", "events")
    return [Entry(**{**row, **{name: tuple(row[name]) for name in lists}}) for row in rows]


async def add(db: Connection, agent: str, day: date, entries: Sequence[Entry]) -> list[int]:
    """Store new entries after all that the day has; returns their ids."""
    last: float = await db.fetchval(
        "select coalesce(max(place), 0) from journal_entries where agent = $1 and day = $2"
        " and removed_at is null",
        agent,
        day,
    )
    rows = await db.fetchmany(
        """
        insert into journal_entries (agent, day, place, section, text, people, room_id, messages,
            events, author, turn_id, imported, created_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, coalesce($13, now()))
        returning id
        """,
        [
            (
                agent, day, last + n, e.section, e.text, list(e.people), e.room_id,
                list(e.messages), list(e.events), e.author, e.turn_id, e.imported, e.created_at,
            )
            for n, e in enumerate(entries, 1)
        ],
    )  # fmt: skip
    return [row["id"] for row in rows]


async def made_of(
    connection: Connection, room_id: str, event_id: str
) -> dict[tuple[str, date], list[int]]:
    """The entries that were made of a message of a room, by agent and day."""
    rows = await connection.fetch(
        """
        select agent, day, array_agg(id) as ids from journal_entries
        where room_id = $1 and events @> array[$2] and removed_at is null
        group by agent, day order by agent, day
        """,
        room_id,
        event_id,
    )
    return {(row["agent"], row["day"]): row["ids"] for row in rows}


async def remove(db: Connection, ids: Sequence[int]) -> None:
    """Take entries out: they are kept, and shown to nobody."""
    await db.execute("update journal_entries set removed_at = now() where id = any($1)", list(ids))


async def arrange(db: Connection, ids: Sequence[int]) -> None:
    """Let these entries stand in this order."""
    await db.execute(
        """
        update journal_entries e set place = w.place
        from unnest($1::bigint[]) with ordinality as w (id, place)
        where e.id = w.id and e.place is distinct from w.place
        """,
        list(ids),
    )


async def days(db: Connection | Pool, agent: str, people: Sequence[str] | None) -> list[date]:
    """The days that have entries which all of the people may know, in order."""
    rows = await db.fetch(
        """
        select distinct day from journal_entries
        where agent = $1 and removed_at is null
          and ($2::text[] is null or people @> $2 or '*' = any(people))
        order by day
        """,
        agent,
        None if people is None else sorted(set(people)),
    )
    return [row["day"] for row in rows]


async def asked(db: Connection | Pool, turn_id: int) -> Asked | None:
    """What a turn answers."""
    row = await db.fetchrow(
        """
        select t.event_id, t.people, t.started_at,
            (select min(m.id) from messages m
             where m.turn_id = t.id and m.session_id = t.session_id and m.role = 'user')
                as message_id
        from turns t where t.id = $1
        """,
        turn_id,
    )
    if row is None:
        return None
    people = None if row["people"] is None else tuple(row["people"])
    return Asked(row["event_id"], row["message_id"], people, row["started_at"])


async def messages_of(db: Connection | Pool, agent: str, events: Sequence[str]) -> dict[str, int]:
    """The messages of an agent's sessions that these events are."""
    if not events:
        return {}
    rows = await db.fetch(
        """
        select m.event_id, min(m.id) as id from messages m join sessions s on s.id = m.session_id
        where s.agent = $1 and m.event_id = any($2) group by m.event_id
        """,
        agent,
        list(events),
    )
    return {row["event_id"]: row["id"] for row in rows}


async def journaled(db: Connection, session_id: int) -> None:
    """Note that the journal knows of all that the session holds by now."""
    await db.execute(
        """
        update sessions set journaled_to = greatest(journaled_to,
            (select coalesce(max(id), 0) from messages where session_id = $1))
        where id = $1
        """,
        session_id,
    )
