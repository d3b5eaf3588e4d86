"""Messages whose answering came to nothing, and that their human has tried again."""

from dataclasses import dataclass

from memtrix_as.db import queue
from memtrix_as.db.aftermath import ANSWERED
from memtrix_as.db.pool import Connection

KIND = "retry"  # of the inbox items that ask for it

# What can be tried again, as its last try stands.
_FAILED = f"""i.done_at is not null and i.payload ? 'content'
    and i.error is distinct from '{ANSWERED}'
    and (t.state in ('failed', 'stopped') or t.id is null and i.error is not null)"""


@dataclass(frozen=True, slots=True)
class Tried:
    """A message that came to nothing, locked until commit."""

    id: int  # of the inbox item of its last try
    lane: str
    sender: str


async def failed(connection: Connection, room_id: str, event_id: str) -> list[Tried]:
    """What an event is, or says that it has come to nothing: a message for each agent concerned.

    Nothing while it is tried, once it was answered, and where its agent is no more.
    """
    roots = await connection.fetch(
        """
        with said as (  -- by us, of a message
            select o.agent, o.turn_id, o.reply_to from sent s join outbox o on o.id = s.outbox_id
            where s.event_id = $2 and o.room_id = $1),
        meant as (
            select event_id, kind, agent from inbox
            where event_id = $2 and room_id = $1 and kind in ('message', 'command')
            union
            select i.event_id, i.kind, i.agent from said join inbox i on i.agent = said.agent
                and (i.id = said.turn_id or i.event_id = said.reply_to)
            where i.room_id = $1 and i.kind in ('message', 'command'))
        select distinct (
            select coalesce(joined_to, id) from inbox i
            where (i.event_id, i.kind, i.agent) = (meant.event_id, meant.kind, meant.agent)
            order by retry desc limit 1) as id
        from meant
        """,
        room_id,
        event_id,
    )
    ids = sorted(row["id"] for row in roots)
    await connection.execute("select from inbox where id = any($1) order by id for update", ids)
    rows = await connection.fetch(
        f"""
        select i.id, i.lane, i.payload->>'sender' as sender
        from inbox i left join turns t using (id)
        where i.id = any($1) and {_FAILED}
          and not exists (select from inbox n where n.event_id = i.event_id and n.kind = i.kind
                          and n.agent = i.agent and n.retry > i.retry)
          and exists (select from members m join agents a using (user_id)
                      where m.room_id = i.room_id and a.name = i.agent and a.state = 'active')
        order by i.id
        """,
        ids,
    )
    return [Tried(**row) for row in rows]


async def again(connection: Connection, tried: Tried) -> None:
    """Put a message, and what was answered with it, in line once more: a turn of its own."""
    await connection.execute(
        """
        insert into inbox (lane, kind, room_id, agent, event_id, payload, hops, people, retry)
        select lane, kind, room_id, agent, event_id, payload, hops, people, retry + 1 from inbox
        where (id = $1 or joined_to = $1) and payload ? 'content' order by id
        on conflict do nothing
        """,
        tried.id,
    )
    await queue.wake(connection, tried.lane)
