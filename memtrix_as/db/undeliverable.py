"""What cannot be said in its room: it ends as failed, and somebody is told all the same."""

from memtrix_as.db import inbox, outbox, queue
from memtrix_as.db.operators import tell_operators
from memtrix_as.db.outbox import Row
from memtrix_as.db.pool import Connection, Pool, clean
from memtrix_as.messages import AMONG_AGENTS, AT_TERMINAL, Place

WORDS = ("text", "notice", "draft", "file")  # kinds that somebody waits for
TOLD = (
    "`{user}` could not say something in `{room}`, and does not try again: {why} Its words are "
    "kept in the database. Whoever is in that room can invite it again."
)
REMOVED, ABSENT = "it was removed meanwhile", "it is not in the room any more"
UNANSWERED = "{name} leaves this without an answer: {why}."
UNHEARD = "A message to {name} in `{room}` stays without an answer: {why}."


async def failed(pool: Pool, row: Row, why: str, cause: str) -> None:
    """Note that a row can never be sent; of words the operators are told.

    Once a day for each room, agent and `cause`. What the management room itself does not take can
    be told nowhere.
    """
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("update outbox set failed = $2 where id = $1", row.id, clean(why))
        if row.kind not in WORDS:
            return
        if await _first(connection, row.room_id, row.agent, cause):
            text = TOLD.format(user=row.user_id, room=row.room_id, why=why)
            await tell_operators(connection, text)


async def unanswered(
    connection: Connection, room_id: str, agent: str, event_id: str | None, why: str
) -> None:
    """Tell whoever wrote to an agent that it cannot answer, since it is not there.

    Another agent says so in the room, if one is in it; else the operators are told.
    """
    if room_id.startswith((AMONG_AGENTS, AT_TERMINAL)):
        return
    row = await connection.fetchrow(
        """
        select coalesce((select display_name from agents where name = $2), $2) as name, (
            select name from agents join members using (user_id)
            where room_id = $1 and state = 'active' and name <> $2
            order by main desc, name limit 1) as other
        """,
        room_id,
        agent,
    )
    if other := row["other"]:
        lane, text = inbox.controls(room_id, other), UNANSWERED.format(name=row["name"], why=why)
        await outbox.say(connection, lane, Place(room_id, other), text, reply_to=event_id)
        await queue.wake(connection, lane)
    elif await _first(connection, room_id, agent, why):
        text = UNHEARD.format(name=row["name"], room=room_id, why=why)
        await tell_operators(connection, text)


async def waiting(connection: Connection, agent: str) -> list[tuple[str, str | None]]:
    """The rooms in which humans wait for an agent, and the newest message of theirs in each."""
    rows = await connection.fetch(
        """
        select distinct on (room_id) room_id, event_id from inbox
        where agent = $1 and done_at is null and kind in ('message', 'command') and hops = 0
        order by room_id, id desc
        """,
        agent,
    )
    return [(row["room_id"], row["event_id"]) for row in rows]


async def _first(connection: Connection, room_id: str, agent: str, cause: str) -> bool:
    """Whether the operators have not been told of this today."""
    return bool(
        await connection.fetchval(
            """
            insert into undeliverable (room_id, agent, cause) select $1, $2, $3
            where not exists (select from management where room_id = $1)
            on conflict (room_id, agent, cause) do update set told_at = now()
                where undeliverable.told_at not between now() - interval '1 day' and now()
            returning true
            """,
            room_id,
            agent,
            clean(cause),
        )
    )
