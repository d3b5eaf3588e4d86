"""After a restore: what has become of the time between the backup and now.

The service that was backed up has gone on. What it answered is not in the database, and is in
the rooms: it must not be answered again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from memtrix_as.db import corrections, inbox, outbox
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.messages import Place

ELSEWHERE = "restored on another homeserver"
LOST = """\
I was restored from a backup of {taken:%Y-%m-%d %H:%M} UTC. What was said here since then I do not \
remember. If a question of yours was left without an answer, please ask it again."""

ANSWERED = "answered before the restore"  # why a message is done that we know no answer to


@dataclass(frozen=True, slots=True)
class Seat:
    """An agent in a room."""

    room_id: str
    agent: str
    user_id: str


async def begin(connection: Connection, then: str, now: str) -> None:
    """Right after loading, at whatever version of the schema, for the domain that it is now."""
    await connection.execute("update rooms set synced = false")  # who came and went is asked anew
    if then == now:
        return
    for statement in (
        "delete from members",
        "delete from rooms",
        "update outbox set failed = $1 where sent_at is null and failed is null",
        "update inbox set done_at = now(), error = $1 where done_at is null",
        "update turns set state = 'stopped', ended_at = now(), error = $1"
        " where state in ('running', 'parked')",
    ):
        await connection.execute(statement, *([ELSEWHERE] if "$1" in statement else []))
    await connection.execute(
        """
        update agents set user_id = left(user_id, -length($1) - 1) || ':' || $2::text
        where right(user_id, length($1) + 1) = ':' || $1::text
        """,
        then,
        now,
    )
    if await connection.fetchval("select to_regclass('management') is not null"):
        await connection.execute("delete from management")
    columns = await connection.fetch(
        "select attname::text from pg_attribute where attrelid = 'agents'::regclass"
        " and attname in ('registered', 'shown_name', 'avatar')"
    )
    blank = {"registered": "false", "shown_name": "null", "avatar": "null"}
    known = ", ".join(f"{row['attname']} = {blank[row['attname']]}" for row in columns)
    await connection.execute(f"update agents set {known}")


async def seats(pool: Pool) -> list[Seat]:
    """All agents in all rooms, as far as we know."""
    rows = await pool.fetch(
        """
        select m.room_id, a.name as agent, a.user_id from members m join agents a using (user_id)
        where a.state = 'active' order by m.room_id, a.main desc
        """
    )
    return [Seat(**row) for row in rows]


async def known(pool: Pool, event_ids: Sequence[str], before: datetime) -> tuple[set[str], bool]:
    """Which of these events the database knows, and whether it knew one of them by then."""
    rows = await pool.fetch(
        """
        select event_id, received_at <= $2 as old from events where event_id = any($1)
        union all select event_id, false from sent where event_id = any($1)
        """,
        list(event_ids),
        before,
    )
    return {row["event_id"] for row in rows}, any(row["old"] for row in rows)


async def settle(
    connection: Connection,
    room_id: str,
    spoke: Sequence[str],
    event_ids: Sequence[str],
    taken: datetime,
    loaded: datetime,
) -> None:
    """Take for done what these agents had before them when they spoke in the room.

    A question to a human stays open: its answer is still waited for.
    """
    await connection.execute(
        "insert into events (event_id) select unnest($1::text[]) on conflict do nothing",
        list(event_ids),
    )
    for agent in spoke:
        lane = inbox.turns(agent, room_id)
        rows = await connection.fetch(
            """
            select i.id, t.id as turn_id from inbox i left join turns t using (id)
            where i.lane = $1 and i.done_at is null and i.received_at <= $2 and not exists (
                select from approvals p join inbox q on q.id = p.turn_id
                where q.lane = $1 and p.state = 'open')
            order by i.id for update of i
            """,
            lane,
            loaded,
        )
        for row in rows:
            if row["turn_id"]:
                await corrections.end(connection, row["turn_id"], "answered after the backup")
            await inbox.finish(connection, row["id"], ANSWERED)
        await connection.execute(
            """
            update outbox set failed = 'sent before the restore'
            where lane = $1 and sent_at is null and failed is null and created_at <= $2
            """,
            lane,
            loaded,
        )
        await outbox.say(connection, lane, Place(room_id, agent), LOST.format(taken=taken))
