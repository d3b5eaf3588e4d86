"""Orders of the management room that wait for a yes: asked, answered, expired.

Whoever answers or expires one changes its row only while it is open, so each ends once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from memtrix_as.db import queue
from memtrix_as.db.pool import Connection, Pool, clean
from memtrix_as.messages import Place

State = Literal["open", "going", "done", "failed", "denied", "expired", "withdrawn"]

OFFERED = ["✅", "❌"]  # put on the question, to be clicked on
COLUMNS = """id, room_id, agent, command, details, question, question_id, asked, state,
    expires_at, expires_at <= now() as overdue, answered_by"""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A question about an order; `details` is what will be done, frozen when it was asked."""

    id: int
    room_id: str
    agent: str
    command: str
    details: Mapping[str, Any]
    question: str
    question_id: int
    asked: str
    state: State
    expires_at: datetime
    overdue: bool
    answered_by: str | None


@dataclass(frozen=True, slots=True)
class Asking:
    """A question about to be asked."""

    command: str
    details: Mapping[str, Any]
    asked: str
    question: str
    expires_at: datetime


async def deadline(db: Connection | Pool, seconds: float) -> datetime:
    """The database's time so many seconds from now."""
    found: datetime = await db.fetchval("select now() + make_interval(secs => $1)", seconds)
    return found


async def next_id(connection: Connection) -> int:
    """The number that the next question will have; it stands in its text."""
    return int(
        await connection.fetchval("select nextval(pg_get_serial_sequence('confirmations', 'id'))")
    )


async def ask(
    connection: Connection, number: int, lane: str, place: Place, a: Asking, text: str
) -> None:
    """Put a question with the number into the room; `text` is the question and how to answer."""
    await connection.execute(
        """
        with question as (
            insert into outbox (lane, room_id, agent, thread, kind, text)
            values ($1, $2, $3, $4, 'notice', $5) returning id),
        offered as (
            insert into outbox (lane, room_id, agent, kind, text, replaces)
            select $1, $2, $3, 'reaction', emoji, id
            from question, unnest($6::text[]) with ordinality as e (emoji, n) order by n)
        insert into confirmations (id, room_id, agent, command, details, question, question_id,
            asked, expires_at)
        overriding system value
        select $7, $2, $3, $8, $9, $10, id, $11, $12 from question
        """,
        lane,
        place.room_id,
        place.agent,
        place.thread,
        clean(text),
        OFFERED,
        number,
        a.command,
        dict(a.details),
        clean(a.question),
        a.asked,
        a.expires_at,
    )


async def open_in(db: Connection | Pool, room_id: str) -> list[Confirmation]:
    """The open questions of the room, the oldest first."""
    rows = await db.fetch(
        f"select {COLUMNS} from confirmations where room_id = $1 and state = 'open' order by id",
        room_id,
    )
    return [Confirmation(**row) for row in rows]


async def hold(connection: Connection, room_id: str, number: int) -> Confirmation | None:
    """A question of the room as it stands, locked until commit."""
    row = await connection.fetchrow(
        f"select {COLUMNS} from confirmations where id = $1 and room_id = $2 for update",
        number,
        room_id,
    )
    return Confirmation(**row) if row else None


async def of_event(db: Connection | Pool, room_id: str, event_id: str) -> int | None:
    """The number of the question that an event of the room is, or whose outcome it shows."""
    found: int | None = await db.fetchval(
        """
        select c.id from sent s join outbox o on o.id = s.outbox_id
            join confirmations c on c.question_id = coalesce(o.replaces, o.id)
        where s.event_id = $1 and c.room_id = $2
        """,
        event_id,
        room_id,
    )
    return found


async def of_item(db: Connection | Pool, item_id: int) -> Confirmation | None:
    """The question that this yes has set going."""
    row = await db.fetchrow(
        f"select {COLUMNS} from confirmations where item_id = $1 and state = 'going'", item_id
    )
    return Confirmation(**row) if row else None


async def settle(
    connection: Connection, c: Confirmation, state: State, by: str | None, lane: str, outcome: str,
    item_id: int | None = None,
) -> None:  # fmt: skip
    """Note how a question ended, and show it there."""
    await connection.execute(
        """
        update confirmations set state = $2, answered_by = $3, answered_at = now(), item_id = $4
        where id = $1
        """,
        c.id,
        state,
        by,
        item_id,
    )
    await connection.execute(
        """
        insert into outbox (lane, room_id, agent, kind, text, replaces)
        values ($1, $2, $3, 'notice', $4, $5)
        """,
        lane,
        c.room_id,
        c.agent,
        clean(f"{c.question}\n\n{outcome}"),
        c.question_id,
    )


async def end(connection: Connection, number: int, state: State) -> None:
    """What a yes had set going has come to its end."""
    await connection.execute(
        "update confirmations set state = $2 where id = $1 and state = 'going'", number, state
    )


async def next_due(pool: Pool) -> float | None:
    """Seconds until the next open question expires; None if none is open."""
    found: float | None = await pool.fetchval(
        "select extract(epoch from min(expires_at) - now())::float8 from confirmations"
        " where state = 'open'"
    )
    return found


async def expire(pool: Pool, outcome: str) -> int:
    """Close what nobody has answered in time, and show it there; how many there were."""
    async with pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(
            """
            with over as (
                update confirmations set state = 'expired', answered_at = now()
                where state = 'open' and expires_at <= now() returning *)
            insert into outbox (lane, room_id, agent, kind, text, replaces)
            select o.lane, c.room_id, c.agent, 'notice', c.question || E'\\n\\n' || $1,
                c.question_id
            from over c join outbox o on o.id = c.question_id order by c.id
            returning lane
            """,
            outcome,
        )
        for lane in sorted({row["lane"] for row in rows}):
            await queue.wake(connection, lane)
    return len(rows)
