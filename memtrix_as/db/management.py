"""The management room as a row: which room it is, who was asked in, who was told to stay out."""

from collections.abc import Sequence
from dataclasses import dataclass

from memtrix_as.db import inbox, outbox, queue
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.messages import Place


@dataclass(frozen=True, slots=True)
class Known:
    """The management room, and the administrators who were asked in already."""

    room_id: str
    alias: str
    invited: tuple[str, ...] = ()


async def get(pool: Pool) -> Known | None:
    row = await pool.fetchrow("select room_id, alias, invited from management")
    return Known(row["room_id"], row["alias"], tuple(row["invited"])) if row else None


async def keep(pool: Pool, room_id: str, alias: str) -> None:
    """Let this be the management room; of another one nothing is kept."""
    await pool.execute(
        """
        insert into management (room_id, alias) values ($1, $2)
        on conflict (one) do update set alias = excluded.alias, room_id = excluded.room_id,
            invited = case when management.room_id = excluded.room_id
                then management.invited else '{}' end,
            told = case when management.room_id = excluded.room_id
                then management.told else '{}' end
        """,
        room_id,
        alias,
    )


async def none(pool: Pool) -> None:
    """There is no management room now: the alias leads to one that we do not trust."""
    await pool.execute("delete from management")


async def invited(pool: Pool, users: Sequence[str], agent: str = "", greeting: str = "") -> None:
    """Note that these were asked in, or were in already; the agent greets the first of all."""
    async with pool.acquire() as connection, connection.transaction():
        room_id = await connection.fetchval(
            "select room_id from management where invited = '{}' for update"
        )
        await connection.execute(
            "update management set invited = array(select distinct unnest(invited || $1::text[]))",
            list(users),
        )
        if room_id and greeting:
            lane = inbox.turns(agent, room_id)
            await outbox.say(connection, lane, Place(room_id, agent), greeting, kind="text")
            await queue.wake(connection, lane)


async def tell_once(connection: Connection, room_id: str, user_id: str) -> bool:
    """Whether somebody is still to be told that the room is not for them; notes that they are."""
    return bool(
        await connection.fetchval(
            """
            update management set told = told || $2::text
            where room_id = $1 and $2 <> all (told) returning true
            """,
            room_id,
            user_id,
        )
    )


async def inviter(pool: Pool, agent: str, room_id: str) -> str | None:
    """Who asked an agent into a room last, as far as we know."""
    found: str | None = await pool.fetchval(
        """
        select payload->>'sender' from inbox
        where agent = $1 and room_id = $2 and kind = 'invite' order by id desc limit 1
        """,
        agent,
        room_id,
    )
    return found


async def humans(db: Connection | Pool, room_id: str) -> list[str]:
    """Humans who are in the room."""
    rows = await db.fetch(
        """
        select user_id from members
        where room_id = $1 and user_id not in (select user_id from agents) order by user_id
        """,
        room_id,
    )
    return [row["user_id"] for row in rows]
