"""What was said in the rooms of an agent, a day at a time, and which of it is in the index."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from memtrix_as.db.pool import Connection, Pool

WITHDRAWN = "[withdrawn by its sender]"


@dataclass(frozen=True, slots=True)
class Day:
    """One agent's conversation in one room on one day, which is from `begin` to before `end`."""

    agent: str
    room_id: str
    day: date
    begin: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """A message as it is kept in memory; `speaker` is the agent's name or the human's."""

    id: int
    speaker: str
    text: str
    event: str
    people: tuple[str, ...]


async def stale(pool: Pool, timezone: str, limit: int) -> list[Day]:
    """Days with turns that ended and are not in the index as they are now, the newest first."""
    rows = await pool.fetch(
        """
        select agent, room_id, day, (day::timestamp at time zone $1) as begin,
            ((day + 1)::timestamp at time zone $1) as end
        from (select s.agent, s.room_id, (t.started_at at time zone $1)::date as day, max(t.id) as n
              from turns t join sessions s on s.id = t.session_id
              where not t.indexed and t.ended_at is not null group by 1, 2, 3) days
        order by n desc limit $2
        """,
        timezone,
        limit,
    )
    return [Day(**row) for row in rows]


async def count_stale(pool: Pool) -> int:
    """How many turns wait to be indexed."""
    return int(
        await pool.fetchval("select count(*) from turns where not indexed and ended_at is not null")
    )


async def take(connection: Connection, day: Day) -> list[Line]:
    """Mark the day's turns as indexed, until commit locked against change; what was said in them.

    Left out is what is no part of the conversation: calls and results of tools, answers that
    failed or were stopped, messages that their sender took back.
    """
    await connection.execute(
        """
        update turns t set indexed = true from sessions s
        where s.id = t.session_id and s.agent = $1 and s.room_id = $2
          and t.started_at >= $3 and t.started_at < $4 and t.ended_at is not null
          and not t.indexed
        """,
        day.agent,
        day.room_id,
        day.begin,
        day.end,
    )
    rows = await connection.fetch(
        """
        select m.id, m.text,
            coalesce(t.people, array[t.sender]) as people,
            case when m.role = 'assistant' then a.display_name else coalesce(
                (select display_name from members
                 where room_id = s.room_id and user_id = t.sender),
                (select display_name from agents where user_id = t.sender and t.sender <> ''),
                t.sender) end as speaker,
            coalesce(m.event_id, (
                select e.event_id from outbox o join sent e on e.outbox_id = o.id
                where o.turn_id = t.id and o.kind in ('draft', 'text')
                order by o.id, e.part limit 1), '') as event
        from turns t join sessions s on s.id = t.session_id join agents a on a.name = s.agent
            join messages m on m.turn_id = t.id
        where s.agent = $1 and s.room_id = $2 and t.started_at >= $3 and t.started_at < $4
          and (m.role = 'user' or m.role = 'assistant' and t.state = 'done')
          -- What another agent asks after it has read text from outside is that text's as well.
          and (m.role = 'assistant' or m.outside = '')
          and t.indexed and m.text not in ('', $5)
        order by m.id
        """,
        day.agent,
        day.room_id,
        day.begin,
        day.end,
        WITHDRAWN,
    )
    return [Line(**{**row, "people": tuple(row["people"])}) for row in rows]


async def changed(connection: Connection, room_id: str, event_ids: Sequence[str]) -> None:
    """The turns of these messages are other than in the index: they are to be cut anew."""
    await connection.execute(
        """
        update turns t set indexed = false from messages m join sessions s on s.id = m.session_id
        where m.turn_id = t.id and m.event_id = any($2) and s.room_id = $1 and t.indexed
        """,
        room_id,
        list(event_ids),
    )
