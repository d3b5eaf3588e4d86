"""Calls, and tools in the middle of one, that wait for a human's yes: asked, answered, or ended.

Whoever asks, answers, expires or parks locks the turn's inbox row first and looks only then, in a
statement of its own: so no turn is parked whose last question has just been answered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from memtrix_as.db import inbox, queue
from memtrix_as.db.inbox import Item
from memtrix_as.db.offers import OFFER, OFFERED
from memtrix_as.db.pool import Connection, Pool, clean
from memtrix_as.db.queue import Lease
from memtrix_as.messages import Place, ToolCall

State = Literal["open", "approved", "denied", "expired", "withdrawn"]

ENDED = "⏹ **Withdrawn**: it was not run."
CUT = "⏹ **Withdrawn**: the call that asked has ended."  # asked in the middle of one
COLUMNS = """id, turn_id, agent, room_id, tool, arguments, question, question_id, asked, state,
    expires_at, expires_at <= now() as overdue, answered_at, answered_by, told, wary, ordinal"""


@dataclass(frozen=True, slots=True)
class Approval:
    """A call that a human was asked about; `asked` is who caused its turn."""

    id: int
    turn_id: int
    agent: str
    room_id: str
    tool: str
    arguments: Mapping[str, Any]
    question: str
    question_id: int
    asked: str
    state: State
    expires_at: datetime
    overdue: bool
    answered_at: datetime | None
    answered_by: str | None
    told: Sequence[str]
    wary: bool  # asked because text from outside stood before the model
    ordinal: int  # 0: whether the call may run; from 1 on: what it asks while it runs


@dataclass(frozen=True, slots=True)
class Question:
    """What intake knows of a question: it has no events while it is not in the room yet."""

    id: int
    agent: str
    room_id: str
    thread: str | None
    event_ids: Sequence[str]  # its own, and of what shows how it ended
    open: bool
    offer: bool = False  # nothing waits for the answer


async def deadline(pool: Pool, seconds: float) -> datetime:
    """The database's time so many seconds from now."""
    found: datetime = await pool.fetchval("select now() + make_interval(secs => $1)", seconds)
    return found


async def of_call(pool: Pool, message_id: int, call_id: str, ordinal: int = 0) -> Approval | None:
    """What became of the question about a call, or of one that it asked itself, if there was."""
    row = await pool.fetchrow(
        f"select {COLUMNS} from approvals where message_id = $1 and call_id = $2 and ordinal = $3",
        message_id,
        call_id,
        ordinal,
    )
    return Approval(**row) if row else None


async def asked(pool: Pool, message_id: int) -> int:
    """How many calls of a message a human was asked about."""
    return int(
        await pool.fetchval(
            "select count(*) from approvals where message_id = $1 and ordinal = 0", message_id
        )
    )


async def is_human(pool: Pool, user_id: str) -> bool:
    """Whether there is somebody to ask: a turn that a timer or an agent caused has nobody."""
    return bool(user_id) and not await pool.fetchval(
        "select exists (select from agents where user_id = $1)", user_id
    )


@dataclass(frozen=True, slots=True)
class Asking:
    """A question about to be asked: `question` says what is to be done, `how` how to answer."""

    message_id: int
    call: ToolCall
    asked: str
    question: str
    how: str
    expires_at: datetime
    words: str  # what the turn has said so far and goes before
    reply_to: str | None
    wary: bool
    ordinal: int = 0  # as in Approval


async def ask(pool: Pool, item: Item, lease: Lease, place: Place, a: Asking) -> None:
    """Put a question and its call into the database, once; LostTurn if the turn is not ours."""
    async with pool.acquire() as connection, connection.transaction():
        await inbox.hold_turn(connection, item, lease)
        if await connection.fetchval(
            "select true from approvals where message_id = $1 and call_id = $2 and ordinal = $3",
            a.message_id,
            a.call.id,
            a.ordinal,
        ):
            return
        await _say_before(connection, item, place, a)
        await connection.execute(
            """
            with question as (
                insert into outbox (lane, room_id, agent, thread, kind, text, turn_id, reply_to)
                values ($1, $2, $3, $4, 'notice', $5, $6, $7) returning id),
            offered as (
                insert into outbox (lane, room_id, agent, kind, text, replaces)
                select $1, $2, $3, 'reaction', emoji, id
                from question, unnest($8::text[]) with ordinality as e (emoji, n) order by n)
            insert into approvals (turn_id, message_id, call_id, agent, room_id, tool, arguments,
                question, question_id, asked, expires_at, wary, ordinal)
            select $6, $9, $10, $3, $2, $11, $12, $13, id, $14, $15, $16, $17 from question
            """,
            item.lane,
            place.room_id,
            place.agent,
            place.thread,
            clean(f"{a.question}\n\n{a.how}"),
            item.id,
            a.reply_to,
            OFFERED,
            a.message_id,
            a.call.id,
            a.call.name,
            dict(a.call.arguments),
            clean(a.question),
            a.asked,
            a.expires_at,
            a.wary,
            a.ordinal,
        )


async def _say_before(connection: Connection, item: Item, place: Place, a: Asking) -> None:
    """Finish what the turn says so far, so that the question and the rest come after it."""
    if a.words.strip():
        await connection.execute(
            """
            with draft as (
                update outbox set kind = 'text' where turn_id = $6 and kind = 'draft' returning id)
            insert into outbox (lane, room_id, agent, thread, kind, text, turn_id, reply_to,
                replaces)
            values ($1, $2, $3, $4, 'text', $5, $6, $7, (select id from draft))
            """,
            item.lane,
            place.room_id,
            place.agent,
            place.thread,
            clean(a.words),
            item.id,
            a.reply_to,
        )
    await connection.execute(
        "update turns set said_to = greatest(said_to, $2) where id = $1", item.id, a.message_id
    )


async def park(pool: Pool, item: Item, lease: Lease) -> bool:
    """Let the turn wait for answers of humans and agents; False when there are none to wait for."""
    async with pool.acquire() as connection, connection.transaction():
        await inbox.hold_turn(connection, item, lease)
        parked = await connection.fetchval(
            """
            update turns set state = 'parked' where id = $1 and state = 'running'
                and (exists (select from approvals
                             where turn_id = $1 and state = 'open' and tool <> $2)
                     or exists (select from consultations where turn_id = $1 and state = 'open'))
            returning true
            """,
            item.id,
            OFFER,
        )
        # What got as far as a question does not kill the process that works on it.
        await connection.execute("update inbox set attempts = '{}' where id = $1", item.id)
        if not parked:  # all have answered meanwhile
            await queue.wake(connection, item.lane)
    return bool(parked)


async def hold(connection: Connection, approval_id: int) -> Approval | None:
    """An approval as it stands, its turn locked until commit."""
    await connection.execute(
        """
        select from inbox where id = (select turn_id from approvals where id = $1) for update
        """,
        approval_id,
    )
    row = await connection.fetchrow(
        f"select {COLUMNS} from approvals where id = $1 for update", approval_id
    )
    return Approval(**row) if row else None


async def settle(
    connection: Connection, a: Approval, state: State, by: str | None, lane: str, outcome: str
) -> None:
    """Note how a question ended, show it there, and let its turn go on."""
    await connection.execute(
        """
        update approvals set state = $2, answered_by = $3, answered_at = now() where id = $1
        """,
        a.id,
        state,
        by,
    )
    if outcome:
        await connection.execute(
            """
            insert into outbox (lane, room_id, agent, kind, text, replaces)
            values ($1, $2, $3, 'notice', $4, $5)
            """,
            lane,
            a.room_id,
            a.agent,
            clean(f"{a.question}\n\n{outcome}"),
            a.question_id,
        )
    await connection.execute(
        "update turns set state = 'running' where id = $1 and state = 'parked'", a.turn_id
    )
    await queue.wake(connection, inbox.turns(a.agent, a.room_id))


async def tell_once(connection: Connection, a: Approval, user_id: str) -> bool:
    """Whether somebody who may not answer is still to be told so; notes that they are."""
    return bool(
        await connection.fetchval(
            """
            update approvals set told = told || $2::text
            where id = $1 and $2 <> all (told) returning true
            """,
            a.id,
            user_id,
        )
    )


def closing(turn: str, which: str = "true") -> str:
    """CTEs that close the open questions of a turn that has ended, and show it there."""
    return f"""
    closed as (
        update approvals set state = 'withdrawn', answered_at = now()
        where state = 'open' and turn_id = ({turn}) and {which} and tool <> '{OFFER}'
        returning *),
    shown as (
        insert into outbox (lane, room_id, agent, kind, text, replaces)
        select agent || ' ' || room_id, room_id, agent, 'notice',
            question || E'\\n\\n' || case when ordinal = 0 then '{ENDED}' else '{CUT}' end,
            question_id
        from closed order by id)"""


async def close(connection: Connection, turn_id: int) -> None:
    """Close the open questions of a turn that somebody ends or begins anew."""
    await connection.execute(f"with {closing('select $1::bigint')} select from closed", turn_id)


async def forget(connection: Connection, turn_id: int) -> None:
    """Close the questions of a turn that is taken back, and keep nothing of what they said."""
    await connection.execute(
        """
        update approvals set question = '', arguments = '{}',
            state = case when state = 'open' then 'withdrawn' else state end,
            answered_at = coalesce(answered_at, now())
        where turn_id = $1
        """,
        turn_id,
    )


async def next_due(pool: Pool) -> float | None:
    """Seconds until the next open question expires; None if none is open."""
    found: float | None = await pool.fetchval(
        "select extract(epoch from min(expires_at) - now())::float8 from approvals"
        " where state = 'open'"
    )
    return found


async def due(connection: Connection, most: int) -> list[Approval]:
    """Questions whose time is up, their turns locked until commit; not those in other hands.

    In the order in which `inbox.put` wakes lanes, so that neither waits for the other.
    """
    turns = await connection.fetch(
        """
        select id from inbox where id in (
            select turn_id from approvals where state = 'open' and expires_at <= now()
            order by expires_at limit $1)
        order by id for update skip locked
        """,
        most,
    )
    rows = await connection.fetch(
        f"""
        select {COLUMNS} from approvals
        where turn_id = any($1) and state = 'open' and expires_at <= now()
        order by agent || ' ' || room_id, id
        """,
        [turn["id"] for turn in turns],
    )
    return [Approval(**row) for row in rows]


async def questions(
    connection: Connection, rooms: Sequence[str], events: Sequence[str]
) -> list[Question]:
    """The questions that these events are, and all that are open in these rooms."""
    rows = await connection.fetch(
        """
        with meant as (
            select distinct coalesce(o.replaces, o.id) as id
            from sent s join outbox o on o.id = s.outbox_id where s.event_id = any($2))
        select a.id, a.agent, a.room_id, t.thread, a.state = 'open' as open,
            a.tool = $3 as offer,
            array(select event_id from sent s join outbox o on o.id = s.outbox_id
                  where o.id = a.question_id or o.replaces = a.question_id and o.kind = 'notice')
                as event_ids
        from approvals a join turns t on t.id = a.turn_id
        where (a.room_id = any($1) and a.state = 'open')
            or a.question_id in (select id from meant)
        order by a.id
        """,
        list(rooms),
        list(events),
        OFFER,
    )
    return [Question(**row) for row in rows]


async def open_in(db: Connection | Pool, agent: str, room_id: str) -> list[Approval]:
    """The open questions of an agent in a room."""
    rows = await db.fetch(
        f"select {COLUMNS} from approvals where agent = $1 and room_id = $2 and state = 'open'"
        " order by id",
        agent,
        room_id,
    )
    return [Approval(**row) for row in rows]


async def of_event(connection: Connection, room_id: str, event_id: str) -> int | None:
    """The open approval whose question an event of the room is."""
    found: int | None = await connection.fetchval(
        """
        select a.id from sent s join approvals a on a.question_id = s.outbox_id
        where s.event_id = $1 and a.room_id = $2 and a.state = 'open'
        """,
        event_id,
        room_id,
    )
    return found
