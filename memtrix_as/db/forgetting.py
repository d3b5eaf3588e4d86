"""Taking something out of an agent's memory by hand: passages, and what they were cut from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from memtrix_as.db import conversations, passages
from memtrix_as.db.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage with where it is from; `messages` are those of a conversation."""

    id: int
    day: date
    source: str
    heading: str
    room_id: str | None
    parts: Sequence[str]
    messages: Sequence[int]


@dataclass(frozen=True, slots=True)
class Counts:
    """How much an agent remembers, altogether or of a day."""

    days: int
    entries: int
    messages: int
    passages: int


async def found(db: Connection | Pool, agent: str, ids: Sequence[int]) -> list[Passage]:
    """Those of the passages that the agent has."""
    rows = await db.fetch(
        """
        select id, day, source, heading, room_id, parts, messages from passages
        where agent = $1 and id = any($2) order by id
        """,
        agent,
        list(ids),
    )
    return [Passage(**row) for row in rows]


async def made_of(
    db: Connection | Pool, agent: str, messages: Sequence[int]
) -> dict[date, list[int]]:
    """The journal entries that were made of these messages, by day."""
    rows = await db.fetch(
        """
        select day, array_agg(id) as ids from journal_entries
        where agent = $1 and messages && $2::bigint[] and removed_at is null group by day
        """,
        agent,
        list(messages),
    )
    return {row["day"]: list(row["ids"]) for row in rows}


async def summarised(db: Connection | Pool, agent: str, messages: Sequence[int]) -> int:
    """In how many summaries of older conversation these messages are."""
    return int(
        await db.fetchval(
            """
            select count(distinct s.id) from messages m join sessions s on s.id = m.session_id
            where m.id = any($2) and s.agent = $1 and s.summary <> '' and m.id <= s.condensed_to
            """,
            agent,
            list(messages),
        )
    )


async def blank(connection: Connection, agent: str, messages: Sequence[int]) -> int:
    """Take the words of these messages out of all that the agent's models will see; how many.

    The passages that held them go, and what else was said there is to be cut anew. So do the
    summaries that they went into.
    """
    await passages.lock(connection, agent)
    rows = await connection.fetch(
        """
        update messages m set text = $3, reasoning = '', tokens = 10 from sessions s
        where m.id = any($2) and s.id = m.session_id and s.agent = $1
        returning m.id, m.turn_id, m.event_id
        """,
        agent,
        list(messages),
        conversations.WITHDRAWN,
    )
    ids = [row["id"] for row in rows]
    await connection.execute(
        """
        update sessions s set summary = '' from messages m
        where m.session_id = s.id and m.id = any($1) and m.id <= s.condensed_to
        """,
        ids,
    )
    await connection.execute(
        "delete from passages where agent = $1 and messages && $2::bigint[]", agent, ids
    )
    await connection.execute(
        "update turns set indexed = false where id = any($1)",
        [row["turn_id"] for row in rows if row["turn_id"]],
    )
    await connection.execute(
        """
        update inbox set payload = payload - 'content'
        where agent = $1 and event_id = any($2) and kind = 'message' and done_at is not null
        """,
        agent,
        [row["event_id"] for row in rows if row["event_id"]],
    )
    return len(ids)


async def counts(db: Connection | Pool, agent: str, zone: str, day: date | None = None) -> Counts:
    """How much an agent remembers; `zone` says when a day begins."""
    row = await db.fetchrow(
        """
        select
            (select count(distinct day) from journal_entries
             where agent = $1 and removed_at is null and day = coalesce($2, day)) as days,
            (select count(*) from journal_entries
             where agent = $1 and removed_at is null and day = coalesce($2, day)) as entries,
            (select count(*) from messages m join sessions s on s.id = m.session_id
             where s.agent = $1 and m.role in ('user', 'assistant') and m.text <> ''
               and ($2::date is null or (m.created_at at time zone $3)::date = $2)) as messages,
            (select count(*) from passages where agent = $1 and day = coalesce($2, day))
                as passages
        """,
        agent,
        day,
        zone,
    )
    return Counts(**row)


async def cut_anew(connection: Connection, agent: str | None) -> list[tuple[str, date]]:
    """Have conversations cut into passages anew; the journal days that are to be, too."""
    await connection.execute(
        """
        update turns t set indexed = false from sessions s
        where s.id = t.session_id and ($1::text is null or s.agent = $1) and t.indexed
        """,
        agent,
    )
    rows = await connection.fetch(
        """
        select distinct agent, day from journal_entries
        where removed_at is null and ($1::text is null or agent = $1) order by agent, day
        """,
        agent,
    )
    return [(row["agent"], row["day"]) for row in rows]
