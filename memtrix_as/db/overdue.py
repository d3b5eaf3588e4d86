"""Messages of humans that wait for longer than they should, and why, as far as that is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from memtrix_as.db import outbox, queue
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.db.queue import QUEUE
from memtrix_as.messages import AMONG_AGENTS, AT_TERMINAL, Place

# Whoever sits at a terminal sees what goes on there; agents among themselves have deadlines.
_WATCHED = f"""done_at is null and kind in ('message', 'command', 'admin') and hops = 0
    and left(room_id, 1) not in ('{AMONG_AGENTS}', '{AT_TERMINAL}')
    and watched_at is distinct from 'infinity'"""
_SINCE = "coalesce(watched_at, received_at)"

Work = Literal["turn", "tool", "fetching", "question", "line", "crowded", "nobody", "lost"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message in its lane; `late` when its time is up."""

    id: int
    kind: str
    agent: str
    event_id: str | None
    payload: Any
    waited: float  # seconds since it came
    late: bool


@dataclass(frozen=True, slots=True)
class Head:
    """The oldest item of a lane, for which all others there wait."""

    id: int
    attempts: int
    state: str | None  # of its turn, None when that has not begun
    files: bool
    asks: bool  # a human, who has not answered yet
    consults: bool  # another agent, which has not answered yet
    shown: bool  # what it says can be read while it grows
    tool: str | None  # a call that has no result yet
    model: str
    doing: bool  # a worker has the lane
    waiting: bool  # the lane waits for a worker
    busy: bool  # workers have other lanes of the kind
    present: bool  # its agent is in the room, and at work
    unsent: bool  # words of the lane that the homeserver does not have

    @property
    def heard(self) -> bool:
        """Whether anything that is said now reaches the room.

        A worker that has not begun with what waits is still delivering what was said before.
        """
        return self.present and not (self.doing and self.unsent and not self.attempts)

    @property
    def visible(self) -> bool:
        """Whether the human can see where it stands, or will soon."""
        return self.asks or self.consults or (self.shown and self.doing)


@dataclass(frozen=True, slots=True)
class Overdue:
    """A message whose human is to be told, and what is known of why."""

    message: Waiting
    why: Work
    head: Head
    before: int  # items that are to be handled first
    behind: int  # messages that wait for it


async def waits(pool: Pool, models: Sequence[str]) -> bool:
    """Whether a human waits for an agent that uses one of these models, and sees nothing yet."""
    return bool(
        await pool.fetchval(
            """
            select exists (
                select from inbox i join agents a on a.name = i.agent left join turns t using (id)
                where i.done_at is null and i.kind = 'message' and i.hops = 0
                  and a.state = 'active' and a.model = any($1)
                  and t.state is distinct from 'parked'
                  and not exists (select from outbox where turn_id = i.id and kind = 'draft'
                                  and sent_at is not null))
            """,
            list(models),
        )
    )


async def next_due(pool: Pool, deadline: float) -> float | None:
    """Seconds until the next message is late, by the database's clock; None if none waits."""
    found: float | None = await pool.fetchval(
        f"select extract(epoch from min({_SINCE}) - now())::float8 + $1"
        f" from inbox where {_WATCHED}",
        deadline,
    )
    return found


async def lanes(pool: Pool, deadline: float) -> list[str]:
    """The lanes in which messages are late, or newer than it is now: the clock was set back."""
    rows = await pool.fetch(
        f"""
        select lane from inbox
        where {_WATCHED} and {_SINCE} not between now() - make_interval(secs => $1) and now()
        group by lane order by min(id)
        """,
        deadline,
    )
    return [row["lane"] for row in rows]


async def take(connection: Connection, lane: str, deadline: float) -> Overdue | None:
    """The message of a lane whose human is to be told now, noted as told.

    All that wait in the lane are told with it, so that one sentence stands in the room and not
    one for each. Rows that somebody else has in hand are passed over: they are being ended.
    """
    rows = await connection.fetch(
        f"""
        select id, kind, agent, event_id, payload,
            extract(epoch from now() - received_at)::float8 as waited,
            {_SINCE} <= now() - make_interval(secs => $2) as late
        from inbox where lane = $1 and {_WATCHED} order by id for update skip locked
        """,
        lane,
        deadline,
    )
    waiting = [Waiting(**row) for row in rows]
    if not waiting:
        return None
    head = await _head(connection, lane)
    untold = [m for m in waiting if m.id != head.id or not head.visible] if head.heard else []
    told = [m.id for m in untold if m.late]
    await connection.execute(
        "update inbox set watched_at = case when id = any($2) then 'infinity' else now() end"
        " where id = any($1)",
        [m.id for m in waiting],
        told,
    )
    if not told:
        return None
    first = next(m for m in untold if m.late)
    before = await connection.fetchval(
        "select count(*) from inbox where lane = $1 and done_at is null and id < $2", lane, first.id
    )
    if not (head.doing or head.waiting or head.asks or head.consults):
        await queue.wake(connection, lane)  # nobody knows of it any more
    behind = sum(m.id > first.id for m in waiting)
    return Overdue(first, _why(head, first), head, before, behind)


def _why(head: Head, message: Waiting) -> Work:
    if head.asks:
        return "question"
    if not head.doing:
        if head.consults:
            return "line"
        if not head.waiting:
            return "lost"
        return "crowded" if head.busy else "nobody"
    if head.id != message.id:
        return "line"
    if head.state is None and head.files:
        return "fetching"
    return "tool" if head.tool else "turn"


async def _head(connection: Connection, lane: str) -> Head:
    row = await connection.fetchrow(
        f"""
        with head as (
            select i.id, i.attempts, i.agent, i.room_id, i.payload, t.state from inbox i
            left join turns t using (id) where lane = $1 and done_at is null order by i.id limit 1),
        jobs as (select status from procrastinate_jobs where lock = $1),
        kind as (select {QUEUE} as queue_name from (select $1::text as lane) as asked)
        select id, cardinality(attempts) as attempts, state,
            payload->'content' ? 'url' as files,
            exists (select from approvals where turn_id = head.id and state = 'open') as asks,
            exists (select from consultations where turn_id = head.id and state = 'open')
                as consults,
            exists (select from outbox where turn_id = head.id and kind = 'draft'
                    and sent_at is not null) as shown,
            (select c->>'name' from messages m, jsonb_array_elements(m.calls) c
             where m.id = (select max(id) from messages
                           where turn_id = head.id and role = 'assistant')
               and not exists (select from messages r where r.turn_id = head.id and r.id > m.id
                               and r.call_id = c->>'id') limit 1) as tool,
            coalesce((select model from agents where name = head.agent), '') as model,
            exists (select from jobs where status = 'doing') as doing,
            exists (select from jobs where status = 'todo') as waiting,
            exists (select from procrastinate_jobs join kind using (queue_name)
                    where status = 'doing') as busy,
            exists (select from members join agents using (user_id)
                    where room_id = head.room_id and name = head.agent
                      and agents.state = 'active') as present,
            exists (select from outbox where lane = $1 and sent_at is null and failed is null)
                as unsent
        from head
        """,
        lane,
    )
    return Head(**{**row, "files": bool(row["files"])})


async def tell(
    connection: Connection, lane: str, place: Place, reply_to: str | None, text: str
) -> None:
    """Say it beside the lane that waits: whoever has a place for controls sends it."""
    await outbox.say(connection, lane, place, text, reply_to=reply_to)
    await queue.wake(connection, lane)
