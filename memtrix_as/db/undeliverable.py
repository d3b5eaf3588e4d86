"""Words that no room takes: they end as failed, and those who run this are told."""

from memtrix_as.db.operators import tell_operators
from memtrix_as.db.outbox import Row
from memtrix_as.db.pool import Pool, clean

WORDS = ("text", "notice", "draft", "file")  # kinds that somebody waits for
TOLD = (
    "`{user}` could not say something in `{room}`, and does not try again: {why} Its words are "
    "kept in the database. Whoever is in that room can invite it again."
)


async def failed(pool: Pool, row: Row, why: str, cause: str) -> None:
    """Note that a row can never be sent; of words the operators are told.

    Once a day for each room, agent and `cause`. What the management room itself does not take can
    be told nowhere.
    """
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("update outbox set failed = $2 where id = $1", row.id, clean(why))
        if row.kind not in WORDS:
            return
        first = await connection.fetchval(
            """
            insert into undeliverable (room_id, agent, cause) select $1, $2, $3
            where not exists (select from management where room_id = $1)
            on conflict (room_id, agent, cause) do update set told_at = now()
                where undeliverable.told_at not between now() - interval '1 day' and now()
            returning true
            """,
            row.room_id,
            row.agent,
            clean(cause),
        )
        if first:
            text = TOLD.format(user=row.user_id, room=row.room_id, why=why)
            await tell_operators(connection, text)
