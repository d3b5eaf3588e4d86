"""The one door in: what has happened and waits to be handled, a lane at a time, in order."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from memtrix_as.db import queue
from memtrix_as.db.pool import Connection, Pool, to_json
from memtrix_as.db.queue import Lease, held
from memtrix_as.errors import LostTurn
from memtrix_as.messages import AMONG_AGENTS, AT_TERMINAL

CONDENSING = f"{AMONG_AGENTS}+"  # before a lane: where its sessions are condensed, beside it


@dataclass(frozen=True, slots=True)
class Arrival:
    """Something to put into the inbox."""

    lane: str
    kind: str
    room_id: str
    agent: str
    event_id: str | None
    payload: Any
    people: tuple[str, ...] | None = None  # the humans in the room; None: look when it is stored
    hops: int = 0  # how many agents have handed it on


@dataclass(frozen=True, slots=True)
class Item:
    """Something out of the inbox, to be handled now."""

    id: int
    lane: str
    kind: str
    room_id: str
    agent: str
    event_id: str | None
    payload: Any
    received_at: datetime
    attempts: int
    unsent: bool  # the lane has words that were not sent
    present: bool  # the agent is in the room
    humans: int  # how many are in the room; of many, two
    speaker: str | None  # the display name of the event's sender there
    hops: int = 0  # how many agents have handed it on
    gone: bool = False  # its agent is there no more
    waited: float = 0.0  # seconds from its coming to its being claimed
    retry: int = 0  # how often its human has had it tried again
    followed: bool = True  # more waits in the lane
    claimed_at: float = field(default_factory=time.monotonic)


def turns(agent: str, room_id: str) -> str:
    """The lane of an agent's turns in a room."""
    return f"{agent} {room_id}"


def consults(agent: str, root: str = "") -> str:
    """The lane of what other agents ask an agent: one after the other, but for what is parked.

    Asked on behalf of somebody at a terminal, the room `root`, in a lane of that terminal.
    """
    lane = f"{AMONG_AGENTS}{agent}"
    return f"{lane} {root}" if root.startswith(AT_TERMINAL) else lane


def controls(room_id: str, agent: str = "") -> str:
    """The lane of what overtakes turns."""
    return f"!{agent} {room_id}"


def orders(sender: str, room_id: str) -> str:
    """The lane of what an administrator types in the management room."""
    return f"#{sender} {room_id}"


def lobby(room_id: str) -> str:
    """The lane of events of a room that we do not know yet."""
    return f"* {room_id}"


async def put(db: Connection | Pool, arrivals: Sequence[Arrival]) -> None:
    """Store what arrived and wake its lanes; one that is there already changes nothing."""
    if not arrivals:
        return
    await db.execute(
        f"""
        with arrived as (
            insert into inbox (lane, kind, room_id, agent, event_id, payload, hops, people)
            select lane, kind, room_id, agent, event_id, payload, hops,
                case when kind in ('message', 'question', 'errand') then coalesce(
                    (select array_agg(p) from jsonb_array_elements_text(people::jsonb) p),
                    array(select user_id from members m where m.room_id = a.room_id
                          and user_id not in (select user_id from agents))) end
            from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[],
                $7::text[], $8::int[])
                as a (lane, kind, room_id, agent, event_id, payload, people, hops)
            on conflict do nothing
            returning lane),
        woken as ({queue.waking("arrived")})
        select {queue.BELL}
        """,
        [a.lane for a in arrivals],
        [a.kind for a in arrivals],
        [a.room_id for a in arrivals],
        [a.agent for a in arrivals],
        [a.event_id for a in arrivals],
        [a.payload for a in arrivals],
        # As text: asyncpg takes a list within a list for one more dimension of the array.
        [None if a.people is None else to_json(a.people) for a in arrivals],
        [a.hops for a in arrivals],
    )


async def claim(pool: Pool, lane: str, lease: Lease) -> Item | None:
    """The oldest unhandled item of the lane, its attempts counted; None when all is done.

    None as well when that item's turn is parked until a human answers, and when the lease is
    lost: what waits is then another worker's. Among agents a parked turn lets others pass: were
    each to wait for the other, nobody would go on.
    """
    row = await pool.fetchrow(
        f"""
        with item as (
            update inbox set attempts = attempts || $2::bigint
            where id = (
                select id from inbox i where lane = $1 and done_at is null
                  and not (left(lane, 1) = '{AMONG_AGENTS}' and exists (
                        select from turns where turns.id = i.id and state = 'parked'))
                order by id limit 1)
              and not exists (select from turns where turns.id = inbox.id and state = 'parked')
              and {held("$2", "$3", lock="")}
            returning id, lane, kind, room_id, agent, event_id, payload, received_at,
                cardinality(attempts) as attempts, hops, retry)
        select item.*,
            extract(epoch from clock_timestamp() - received_at)::float8 as waited,
            agent <> '' and not exists (
                select from agents where name = item.agent and state = 'active') as gone,
            exists (select from outbox
                    where lane = $1 and sent_at is null and failed is null) as unsent,
            exists (select from inbox where lane = $1 and done_at is null
                    and id <> item.id) as followed,
            exists (select from members join agents using (user_id)
                    where room_id = item.room_id and agents.name = item.agent) as present,
            (select count(*) from (
                select from members where room_id = item.room_id
                    and user_id not in (select user_id from agents) limit 2) few) as humans,
            (select display_name from members
             where room_id = item.room_id and user_id = item.payload->>'sender') as speaker
        from item
        """,
        lane,
        lease.job_id,
        lease.worker_id,
    )
    return Item(**row) if row else None


@dataclass(frozen=True, slots=True)
class Following:
    """A message that waits right behind another of the same sender."""

    id: int
    event_id: str
    payload: Any


async def following(pool: Pool, item: Item, most: int) -> list[Following] | None:
    """The messages of the same sender that wait right behind this one, nothing else between.

    None once the item's turn has begun: what it answers is settled then.
    """
    rows = await pool.fetch(
        """
        with waiting as (
            select id, event_id, payload, kind = 'message' and payload->>'sender' = $3 as same
            from inbox where lane = $1 and id > $2 and done_at is null order by id limit $4)
        select id, event_id, payload from waiting w
        where not exists (select from waiting other where other.id <= w.id and not other.same)
        order by id
        """,
        item.lane,
        item.id,
        item.payload["sender"],
        most,
    )
    if await pool.fetchval("select exists (select from turns where id = $1)", item.id):
        return None
    return [Following(**row) for row in rows]


async def hold(connection: Connection, item_id: int) -> None:
    """Lock an item until commit; LostTurn if somebody has handled it meanwhile."""
    if not await connection.fetchval(
        "select true from inbox where id = $1 and done_at is null for update", item_id
    ):
        raise LostTurn(f"item {item_id} was handled elsewhere")


async def hold_turn(connection: Connection, item: Item, lease: Lease) -> None:
    """Lock the item of a running turn until commit; LostTurn if the turn is not ours any more."""
    await hold(connection, item.id)
    if not await connection.fetchval(
        f"select exists (select from turns where id = $1 and state = 'running') "
        f"and {held('$2', '$3')}",
        item.id,
        lease.job_id,
        lease.worker_id,
    ):
        raise LostTurn(f"turn {item.id} was ended meanwhile")


async def give_back(pool: Pool, jobs: Sequence[int]) -> None:
    """Do not count attempts that ended in these jobs for no fault of their items.

    Also late, when others have taken the items up since, and where a job never got as far.
    """
    await pool.execute(
        """
        update inbox set attempts = array(
            select job from unnest(attempts) with ordinality as a (job, n)
            where job <> all($1) order by n)
        where done_at is null and attempts && $1
        """,
        jobs,
    )


async def move(connection: Connection, item_id: int, lane: str) -> None:
    """Have an item handled in another lane, because it would hold up those behind it."""
    await connection.execute(
        "update inbox set lane = $2, attempts = '{}' where id = $1 and done_at is null",
        item_id,
        lane,
    )
    await queue.wake(connection, lane)


async def finish(db: Connection | Pool, item_id: int, error: str | None = None) -> None:
    """Mark an item handled; `error` says why it was given up."""
    await db.execute(
        "update inbox set done_at = now(), error = $2 where id = $1 and done_at is null",
        item_id,
        error,
    )


async def undone(connection: Connection, agent: str, kind: str) -> list[Any]:
    """The payloads of what waits for an agent, or is being handled; locked, the oldest first."""
    rows = await connection.fetch(
        """
        select payload from inbox where agent = $1 and kind = $2 and done_at is null
        order by id for update
        """,
        agent,
        kind,
    )
    return [row["payload"] for row in rows]


async def is_last(connection: Connection, item: Item) -> bool:
    """Whether it is of a human, and no other waits behind it: so many are told of by one."""
    return not item.hops and not await connection.fetchval(
        """
        select exists (select from inbox where lane = $1 and id > $2 and done_at is null
                       and kind in ('message', 'command') and hops = 0)
        """,
        item.lane,
        item.id,
    )


async def depth(pool: Pool, lane: str) -> int:
    """How many items of the lane wait, the one being handled among them."""
    return int(
        await pool.fetchval("select count(*) from inbox where lane = $1 and done_at is null", lane)
    )
