"""A summary is for those who were there for all that it was made of."""

from collections.abc import AsyncIterator

import pytest

from memtrix_as.db import agents, sessions
from memtrix_as.db.agents import Agent
from memtrix_as.db.pool import Pool, connect
from tests.rig.database import Database

ROOM, ANN, BEN = "!room", "@ann:hs", "@ben:hs"


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await connect(database.dsn)
    await agents.keep_main(
        pool, Agent("memtrix", "@memtrix:hs", "Memtrix", True, "m", False, False)
    )
    await pool.execute("insert into rooms (room_id, synced) values ($1, true)", ROOM)
    yield pool
    await pool.close()


async def comes(pool: Pool, user: str) -> None:
    await pool.execute("insert into members values ($1, $2, null)", ROOM, user)


async def said(pool: Pool, session: int, text: str, *people: str) -> int:
    """A turn that has ended, with one message; the message's id."""
    return int(
        await pool.fetchval(
            """
            with item as (
                insert into inbox (lane, kind, room_id, agent, payload, done_at)
                values ('l', 'message', $4, 'memtrix', '{}', now()) returning id),
            turn as (
                insert into turns (id, session_id, event_id, sender, state, people, ended_at)
                select id, $1, '$', ($3::text[])[1], 'done', $3, now() from item returning id)
            insert into messages (session_id, turn_id, role, text, tokens)
            select $1, id, 'user', $2, 5 from turn returning id
            """,
            session,
            text,
            list(people),
            ROOM,
        )
    )


async def test_who_came_later_is_not_shown_what_was_condensed_before(pool: Pool) -> None:
    await comes(pool, ANN)
    session = await pool.fetchval(
        "insert into sessions (agent, room_id) values ('memtrix', $1) returning id", ROOM
    )
    first = await said(pool, session, "my secret is 4711", ANN)
    await said(pool, session, "hello", ANN)
    await sessions.condense(pool, session, "Ann's secret is 4711.", first)
    assert (await sessions.load(pool, session, 1000)).summary == "Ann's secret is 4711."
    await comes(pool, BEN)
    later = await said(pool, session, "hello all", ANN, BEN)
    shown = await sessions.load(pool, session, 1000)
    assert shown.summary == "" and [s.message.text for s in shown.messages][-1] == "hello all"
    # The next summary is made of the whole, and is still for Ann alone.
    assert (await sessions.load(pool, session, 1000, whole=True)).summary
    await sessions.condense(pool, session, "All of it.", later)
    await said(pool, session, "and on", ANN, BEN)
    assert (await sessions.load(pool, session, 1000)).summary == ""
    await pool.execute("delete from members where user_id = $1", BEN)
    assert (await sessions.load(pool, session, 1000)).summary == "All of it."


async def test_what_all_have_heard_is_shown_to_all(pool: Pool) -> None:
    await comes(pool, ANN)
    await comes(pool, BEN)
    session = await pool.fetchval(
        "insert into sessions (agent, room_id) values ('memtrix', $1) returning id", ROOM
    )
    first = await said(pool, session, "we meet at noon", ANN, BEN)
    await said(pool, session, "fine", ANN, BEN)
    await sessions.condense(pool, session, "They meet at noon.", first)
    assert (await sessions.load(pool, session, 1000)).summary == "They meet at noon."
