"""Turns: one message and all that it led to, until something visible has come of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from memtrix_as.db import approvals, consultations, corrections, inbox, queue, sessions
from memtrix_as.db.inbox import Item
from memtrix_as.db.pool import Connection, Pool, clean
from memtrix_as.db.queue import Lease, held
from memtrix_as.errors import LostTurn
from memtrix_as.messages import BROKEN_OFF, Message, Place, Usage

End = Literal["done", "failed"]


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn as it stands; `state` is other than "running" when it was ended meanwhile."""

    id: int
    session_id: int
    state: str
    model: str
    verbose: bool
    reasoning: bool
    recall: bool
    said_to: int  # the words up to this message stand in the room, before a question
    agent_name: str
    main: bool  # it is the main agent's
    off: Sequence[str]  # tools that are switched off


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Words on their way out: what a row of the outbox says."""

    text: str
    kind: Literal["text", "notice"] = "text"
    reply_to: str | None = None
    thread: str | None = None  # another than that of the turn


@dataclass(frozen=True, slots=True)
class Ending:
    """What ends a turn, committed as one: its last message, its words, what it leaves behind.

    Of the words at most one is of kind "text": it completes the draft, if there is one.
    """

    state: End
    message: tuple[Message, int] | None = None
    model: str | None = None
    usage: Usage | None = None
    words: Sequence[Outgoing] = ()
    error: str | None = None
    condense: bool = False


# Whoever ends, changes or takes back a turn locks its inbox row first: so none waits for another
# that waits for it.
END = f"""
with item as (select id from inbox where id = $1 for update),
ended as (
    update turns set state = $4, error = $5, ended_at = now()
    where id = (select id from item) and state = 'running'
      and {held("$2", "$3")}
    returning id, session_id),
said as (
    insert into messages (turn_id, session_id, role, text, reasoning, calls, call_id,
        failed, tokens, model, prompt_tokens, completion_tokens, cost)
    select ended.id, ended.session_id, role, text, reasoning, calls::jsonb, call_id,
        failed, tokens, $13, $14, $15, $16
    from ended, unnest($6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
        $11::boolean[], $12::int[])
        as m (role, text, reasoning, calls, call_id, failed, tokens)),
spoken as (
    insert into outbox (turn_id, lane, room_id, agent, thread, kind, text, reply_to,
        replaces)
    select ended.id, $17, $18, $19, coalesce(w.thread, $20), w.kind, w.text,
        coalesce(w.reply_to, case when exists (
            select from inbox later where later.lane = $17 and later.done_at is null
                and later.id > $1 and later.kind = 'message') then $25 end),
        case when w.kind = 'text' then
            (select id from outbox where turn_id = $1 and kind = 'draft') end
    from ended, unnest($21::text[], $22::text[], $23::text[], $26::text[]) with ordinality
        as w (kind, text, reply_to, thread, n)
    order by w.n),
later as (
    insert into inbox (lane, kind, room_id, agent, payload)
    select '{inbox.CONDENSING}' || $17, 'condense', $18, $19,
        jsonb_build_object('session', session_id)
    from ended where $24 returning lane),
woken as ({queue.waking("later")}),
{approvals.closing("select id from ended")},
handled as (
    update inbox set done_at = now(), error = $5
    where id in (select id from ended))
select count(*) from ended
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What a human said in one event; `tokens` is an estimate."""

    item_id: int
    event_id: str | None
    message: Message
    tokens: int


async def begin(
    pool: Pool, item: Item, sender: str, thread: str | None, said: Sequence[Said]
) -> Turn:
    """The turn of this inbox item: begun now, or found as a crash, or the human, left it.

    `said` is the item's own message, then those that are answered with it: their items are
    handled by this.
    """
    row = await pool.fetchrow(
        """
        with item as (
            select id from inbox
            where id = $1 and done_at is null and cardinality(attempts) = $7 for update),
        session as (
            insert into sessions (agent, room_id)
            select $2, $3 from item where not exists (select from turns where id = $1)
            on conflict (agent, room_id) where ended_at is null
                do update set agent = excluded.agent
            returning id),
        begun as (
            insert into turns (id, session_id, event_id, sender, thread, people)
            select $1, id, coalesce($4, ''), $5, $6,
                array(select user_id from members where room_id = $3
                      and user_id = any (select unnest(people) from inbox where id = $1))
            from session returning id, session_id, state, said_to),
        joined as (
            update inbox set done_at = now(), joined_to = $1
            where id = any($8) and id <> $1 and done_at is null and exists (select from begun)
            returning id),
        said as (
            insert into messages (session_id, turn_id, role, text, tokens, event_id, outside)
            select begun.session_id, begun.id, 'user', s.text, s.tokens, s.event_id, s.outside
            from begun, unnest($8::bigint[], $9::text[], $10::int[], $11::text[], $12::text[])
                with ordinality as s (item_id, text, tokens, event_id, outside, n)
            where s.item_id = $1 or s.item_id in (select id from joined)
            order by s.n)
        select t.*, a.model, a.verbose, a.reasoning, a.recall, a.display_name as agent_name,
            a.main, array(select tool from disabled_tools where agent in ('', $2)) as off
        from (select * from begun union all
              select id, session_id, state, said_to from turns where id = $1) t, agents a, item
        where a.name = $2 and a.state = 'active'
        """,
        item.id,
        item.agent,
        item.room_id,
        item.event_id,
        sender,
        thread,
        item.attempts,
        [s.item_id for s in said],
        [clean(s.message.text) for s in said],
        [s.tokens for s in said],
        [s.event_id for s in said],
        [clean(s.message.outside) for s in said],
    )
    if row is None:
        raise LostTurn(f"message {item.id} was changed or withdrawn, or its agent is gone")
    return Turn(**row)


async def end(
    db: Connection | Pool, item: Item, lease: Lease, turn: Turn, place: Place, e: Ending
) -> None:
    """Commit the end of a turn, if it is still ours to end; LostTurn if it is not.

    One statement: the lease, the last message, the state, the inbox and the outbox together.
    """
    rows = await db.fetchval(
        END,
        turn.id,
        lease.job_id,
        lease.worker_id,
        e.state,
        e.error,
        *sessions.columns([e.message] if e.message else []),
        e.model,
        e.usage.prompt_tokens if e.usage else None,
        e.usage.completion_tokens if e.usage else None,
        e.usage.cost if e.usage else None,
        item.lane,
        place.room_id,
        place.agent,
        place.thread,
        [w.kind for w in e.words],
        [clean(w.text) for w in e.words],
        [w.reply_to for w in e.words],
        e.condense,
        item.event_id,
        [w.thread for w in e.words],
    )
    if not rows:
        raise LostTurn(f"turn {turn.id} was ended elsewhere")


async def give_up(connection: Connection, item_id: int, error: str) -> None:
    """End an item, and its turn if it has one, that cannot be handled; LostTurn if it was."""
    asked = await consultations.lock(connection, item_id)
    await inbox.hold(connection, item_id)
    await connection.execute(
        """
        insert into outbox (turn_id, lane, room_id, agent, thread, kind, text, replaces)
        select d.turn_id, d.lane, d.room_id, d.agent, d.thread, 'text', d.text || $2, d.id
        from outbox d join turns t on t.id = d.turn_id
        where d.turn_id = $1 and d.kind = 'draft' and t.state = 'running'
        """,
        item_id,
        BROKEN_OFF,
    )
    await connection.execute(
        "update turns set state = 'failed', error = $2, ended_at = now() where id = $1",
        item_id,
        error,
    )
    await approvals.close(connection, item_id)
    await corrections.unask(connection, item_id)
    if asked:
        await consultations.settle(connection, asked, "failed", error)
    await inbox.finish(connection, item_id, error)


async def started(pool: Pool, message_id: int, call_id: str) -> bool:
    """Whether a call with effects has begun."""
    return bool(
        await pool.fetchval(
            "select exists (select from started_calls where message_id = $1 and call_id = $2)",
            message_id,
            call_id,
        )
    )


async def start_call(pool: Pool, lease: Lease, message_id: int, call_id: str) -> bool:
    """Note that a call with effects begins; False when it had begun before.

    LostTurn when the turn is not ours any more.
    """
    row = await pool.fetchrow(
        f"""
        with held as (select {held("$3", "$4")} as held),
        begun as (
            insert into started_calls select $1, $2 from held where held
            on conflict do nothing returning true)
        select held, exists (select from begun) as begun from held
        """,
        message_id,
        call_id,
        lease.job_id,
        lease.worker_id,
    )
    if not row["held"]:
        raise LostTurn("another worker has this turn")
    return bool(row["begun"])
