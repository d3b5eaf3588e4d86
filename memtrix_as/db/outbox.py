"""The one door out: what is to be said, kept until the homeserver has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from memtrix_as.db import inbox
from memtrix_as.db.pool import Connection, Pool, clean
from memtrix_as.errors import LostTurn
from memtrix_as.messages import Place


@dataclass(frozen=True, slots=True)
class Row:
    """Something to send; `key` names it to the homeserver, the same at every try."""

    id: int
    key: UUID
    room_id: str
    agent: str
    user_id: str
    kind: str
    text: str
    thread: str | None
    reply_to: str | None
    target: str | None
    attempts: int
    draft: int | None  # the row of the draft that this completes
    content: Any = None  # kind "file": the finished content of the event
    hops: int = 0  # of the message that it answers


async def say(
    db: Connection | Pool,
    lane: str,
    place: Place,
    text: str,
    *,
    kind: str = "notice",
    turn_id: int | None = None,
    reply_to: str | None = None,
) -> int:
    """Put words into the outbox; they go when the lane is delivered. Returns the row's id."""
    return int(
        await db.fetchval(
            """
            insert into outbox (lane, room_id, agent, thread, kind, text, turn_id, reply_to)
            values ($1, $2, $3, $4, $5, $6, $7, $8) returning id
            """,
            lane,
            place.room_id,
            place.agent,
            place.thread,
            kind,
            clean(text),
            turn_id,
            reply_to,
        )
    )


async def say_once(pool: Pool, lane: str, place: Place, text: str, turn_id: int) -> None:
    """Put a notice of a turn into the outbox, unless it is there already."""
    await pool.execute(
        """
        insert into outbox (lane, room_id, agent, thread, kind, text, turn_id)
        select $1, $2, $3, $4, 'notice', $5::text, $6
        where not exists (select from outbox where turn_id = $6 and text = $5)
        """,
        lane,
        place.room_id,
        place.agent,
        place.thread,
        clean(text),
        turn_id,
    )


@dataclass(frozen=True, slots=True)
class Once:
    """What a tool puts into a room; `name` tells it from all else that its turn puts there."""

    name: str
    kind: str
    text: str
    content: dict[str, Any] | None = None
    target: str | None = None


async def placed(db: Connection | Pool, turn_id: int, kind: str) -> set[str]:
    """The names of what a turn has put into its room by tools, as far as that can still arrive."""
    rows = await db.fetch(
        """
        select once from outbox
        where turn_id = $1 and kind = $2 and once is not null and failed is null
        """,
        turn_id,
        kind,
    )
    return {row["once"] for row in rows}


async def place(pool: Pool, lane: str, place: Place, turn_id: int, what: Once, most: int) -> bool:
    """Put something in for a turn, unless it is there; False when the turn has `most` of its kind.

    LostTurn when the turn has ended meanwhile.
    """
    async with pool.acquire() as connection, connection.transaction():
        await inbox.hold(connection, turn_id)
        there = await placed(connection, turn_id, what.kind)
        if what.name in there:
            return True
        if len(there) >= most:
            return False
        found = await connection.fetchval(
            """
            insert into outbox (lane, room_id, agent, thread, kind, text, turn_id, once, content,
                target)
            select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
            where exists (select from turns where id = $7 and state = 'running') returning id
            """,
            lane,
            place.room_id,
            place.agent,
            place.thread,
            what.kind,
            clean(what.text),
            turn_id,
            what.name,
            what.content,
            what.target,
        )
        if found is None:
            raise LostTurn(f"turn {turn_id} was ended meanwhile")
        return True


async def leave(db: Connection | Pool, lane: str, place: Place) -> None:
    """Have the agent leave a room, after what it has still to say there."""
    await db.execute(
        "insert into outbox (lane, room_id, agent, kind) values ($1, $2, $3, 'leave')",
        lane,
        place.room_id,
        place.agent,
    )


async def draft(
    pool: Pool, lane: str, place: Place, turn_id: int, text: str, reply_to: str | None
) -> int | None:
    """The turn's draft: made now with `text`, or the one that stands already.

    None when the turn has ended meanwhile.
    """
    found: int | None = await pool.fetchval(
        """
        with made as (
            insert into outbox (lane, room_id, agent, thread, kind, text, turn_id, reply_to)
            select $1, $2, $3, $4, 'draft', $5, $6, $7
            where exists (select from turns where id = $6 and state = 'running' for share)
            on conflict (turn_id) where kind = 'draft' do nothing returning id)
        select id from made union all
        select id from outbox where turn_id = $6 and kind = 'draft' and failed is null
        """,
        lane,
        place.room_id,
        place.agent,
        place.thread,
        clean(text),
        turn_id,
        reply_to,
    )
    return found


async def waiting(pool: Pool, lane: str) -> list[Row]:
    """What is to be sent in the lane, in order; their tries counted."""
    rows = await pool.fetch(
        """
        with due as (
            update outbox set attempts = attempts + 1
            where lane = $1 and sent_at is null and failed is null returning *)
        select due.id, due.key, due.room_id, due.agent, a.user_id, due.kind, due.text, due.thread,
            due.reply_to, due.target, due.attempts - 1 as attempts, due.replaces as draft,
            due.content, coalesce((select hops from inbox where id = due.turn_id), 0) as hops
        from due join agents a on a.name = due.agent order by due.id
        """,
        lane,
    )
    return [Row(**row) for row in rows]


async def draft_event(pool: Pool, outbox_id: int) -> tuple[UUID, str] | None:
    """The key and the event of a draft that stands in its room."""
    row = await pool.fetchrow(
        """
        select o.key, s.event_id from outbox o join sent s on s.outbox_id = o.id and s.part = 0
        where o.id = $1
        """,
        outbox_id,
    )
    return (row["key"], row["event_id"]) if row else None


async def sent(pool: Pool, outbox_id: int, event_ids: Sequence[str]) -> float | None:
    """Note that a row was sent whole, as these events; the seconds that it has waited for that."""
    waited: float | None = await pool.fetchval(
        """
        with noted as (
            insert into sent (event_id, outbox_id, part)
            select event_id, $1, n - 1 from unnest($2::text[]) with ordinality as e (event_id, n)
            on conflict do nothing)
        update outbox set sent_at = now() where id = $1 and sent_at is null
        returning extract(epoch from clock_timestamp() - created_at)::float8
        """,
        outbox_id,
        list(event_ids),
    )
    return waited


async def echoed(connection: Connection, echoes: Sequence[tuple[UUID, int, str]]) -> None:
    """Our own events have come back: key, part and event id of each.

    Only the event ids are noted; a row counts as sent when its sender has seen all parts go.
    """
    if not echoes:
        return
    keys, parts, events = zip(*echoes, strict=True)
    await connection.execute(
        """
        insert into sent (event_id, outbox_id, part)
        select e.event_id, o.id, e.part
        from unnest($1::uuid[], $2::int[], $3::text[]) as e (key, part, event_id)
        join outbox o using (key)
        on conflict do nothing
        """,
        list(keys),
        list(parts),
        list(events),
    )


async def parts_sent(pool: Pool, outbox_id: int) -> dict[int, str]:
    """The parts of a row that the homeserver has been seen to have: part -> event id."""
    rows = await pool.fetch("select part, event_id from sent where outbox_id = $1", outbox_id)
    return {row["part"]: row["event_id"] for row in rows}


async def outside(pool: Pool, room_id: str, event_id: str) -> str | None:
    """Where text from outside is from that an agent had read when it said this; empty: none.

    None where it is not known any more how it came to say it.
    """
    found: str | None = await pool.fetchval(
        """
        select coalesce((
            select m.outside from messages m
            where m.session_id = t.session_id and m.outside <> ''
              and m.id <= (select max(id) from messages where turn_id = t.id)
            order by m.id desc limit 1), '')
        from sent s join outbox o on o.id = s.outbox_id join turns t on t.id = o.turn_id
        where s.event_id = $2 and o.room_id = $1
        """,
        room_id,
        event_id,
    )
    return found


async def quoted(pool: Pool, room_id: str, event_id: str) -> str | None:
    """What an event of this room said that we sent, whole, or that was said to us."""
    found: str | None = await pool.fetchval(
        """
        select text from (
            select coalesce(whole.text, o.text) as text from sent s
                join outbox o on o.id = s.outbox_id
                left join outbox whole on whole.replaces = o.id and whole.kind <> 'reaction'
                where s.event_id = $1 and o.room_id = $2
            union all
            select m.text from messages m join sessions on sessions.id = m.session_id
                where m.event_id = $1 and sessions.room_id = $2) said
        where text <> '' limit 1
        """,
        event_id,
        room_id,
    )
    return found
