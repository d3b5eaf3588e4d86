"""Rooms of terminals: which is free, who is in it, and what is still under way there."""

import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from memtrix_as.db import corrections, inbox, rooms, sessions
from memtrix_as.db.pool import Connection, Pool

# Two-key advisory locks: this class, and the room.
ROOM_LOCKS = 0x4D59


@asynccontextmanager
async def taken(pool: Pool, name: Callable[[int], str]) -> AsyncIterator[str]:
    """The first room, counted from 1, that no other process has; ours for as long as it lasts."""
    async with pool.acquire() as connection:
        for number in itertools.count(1):
            room_id = name(number)
            free = "select pg_try_advisory_lock($1, hashtext($2))"
            if await connection.fetchval(free, ROOM_LOCKS, room_id):
                break
        try:
            yield room_id
        finally:
            if not connection.is_closed():
                unlock = "select pg_advisory_unlock($1, hashtext($2))"
                await connection.execute(unlock, ROOM_LOCKS, room_id)


async def furnish(pool: Pool, room_id: str, agent: Mapping[str, str], human: str) -> None:
    """Let these be in the room, and nobody else; the human is called as in other rooms."""
    async with pool.acquire() as connection, connection.transaction():
        called = await connection.fetchval(
            "select display_name from members where user_id = $1 and display_name is not null"
            " limit 1",
            human,
        )
        await rooms.learn(connection, room_id, {**agent, human: called})


@dataclass(frozen=True, slots=True)
class Left:
    """What is under way in a room: messages not answered, words not shown, open questions.

    `overtaking` are those of the undone that do not wait for a question to be answered.
    """

    undone: int
    overtaking: int
    unsent: int
    questions: int

    @property
    def idle(self) -> bool:
        return not self.undone and not self.unsent

    @property
    def asks(self) -> bool:
        """Whether nothing goes on before a human answers."""
        return bool(self.questions) and not self.unsent and not self.overtaking


async def left(pool: Pool, room_id: str) -> Left:
    row = await pool.fetchrow(
        """
        select (select count(*) from inbox where room_id = $1 and done_at is null
                and kind in ('message', 'command', 'approval')) as undone,
            (select count(*) from inbox where room_id = $1 and done_at is null
             and kind in ('command', 'approval')) as overtaking,
            (select count(*) from outbox where room_id = $1 and sent_at is null
             and failed is null) as unsent,
            (select count(*) from approvals where room_id = $1 and state = 'open') as questions
        """,
        room_id,
    )
    return Left(**row)


async def outcome(pool: Pool, event_id: str) -> str | None:
    """How the handling of a message ended: "done", or otherwise; None while it goes on."""
    row = await pool.fetchrow(
        """
        select i.done_at, i.error, t.state from inbox i left join turns t using (id)
        where i.event_id = $1
        """,
        event_id,
    )
    if row is None or row["done_at"] is None:
        return None
    return "failed" if row["error"] else str(row["state"] or "done")


async def question(pool: Pool, outbox_id: int) -> int | None:
    """The number of the question that a row of the outbox is."""
    found: int | None = await pool.fetchval(
        "select id from approvals where question_id = $1", outbox_id
    )
    return found


async def asked(pool: Pool, room_id: str) -> list[tuple[int, str]]:
    """Open questions that stood on a screen which may be gone: their numbers and words."""
    rows = await pool.fetch(
        """
        select a.id, o.text from approvals a join outbox o on o.id = a.question_id
        where a.room_id = $1 and a.state = 'open' and o.sent_at is not null order by a.id
        """,
        room_id,
    )
    return [(row["id"], row["text"]) for row in rows]


async def abandon(pool: Pool, agent: str, room_id: str) -> bool:
    """Let nothing go on there for which nobody waits any more; whether anything did."""
    lane = inbox.turns(agent, room_id)
    async with pool.acquire() as connection, connection.transaction():
        dropped = await connection.fetchval(
            """
            with dropped as (
                update inbox set done_at = now(), error = 'its human has left'
                where room_id = $1 and done_at is null
                  and kind in ('message', 'command', 'approval')
                  and not exists (select from turns where turns.id = inbox.id)
                returning id)
            select count(*) from dropped
            """,
            room_id,
        )
        turn = await corrections.running(connection, lane)
        if turn is not None:
            await corrections.stop(connection, lane, turn)
    return bool(dropped or turn)


async def begin_afresh(pool: Pool, agent: str, room_id: str) -> None:
    """Let the room be as if nobody had been there: what waits to be said has no reader."""
    await abandon(pool, agent, room_id)
    async with pool.acquire() as connection, connection.transaction():
        await forget_unsent(connection, room_id)
        await sessions.clear(connection, agent, room_id)


async def forget_unsent(connection: Connection, room_id: str) -> None:
    await connection.execute(
        """
        update outbox set failed = 'its human has left'
        where room_id = $1 and sent_at is null and failed is null
        """,
        room_id,
    )
