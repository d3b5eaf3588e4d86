"""What we know of rooms: who is in them; and the events that have been taken in."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from memtrix_as.db.pool import Connection, Pool
from memtrix_as.errors import DatabaseError

# One transaction of events at a time, whoever brings it: membership must be applied in order.
INTAKE_LOCK = 0x4D580001

MOST_HUMANS = 50  # of a room, that are loaded for each event


@dataclass(frozen=True, slots=True)
class Room:
    """A room as intake sees it: the names of our agents in it, the user ids of (some) others."""

    room_id: str
    synced: bool = False
    agents: frozenset[str] = frozenset()
    humans: frozenset[str] = frozenset()
    management: bool = False  # what is said here is an order, see `admin`


@dataclass(frozen=True, slots=True)
class Changes:
    """What a batch of events changes about rooms."""

    joined: Sequence[tuple[str, str, str | None]] = ()  # room, user, display name
    left: Sequence[tuple[str, str]] = ()


@asynccontextmanager
async def intake(pool: Pool) -> AsyncIterator[Connection]:
    """A connection in a transaction that nobody else takes events in beside."""
    async with pool.acquire() as connection:
        # Both in one round trip: this stands in the way of every message.
        await connection.execute(f"begin; select pg_advisory_xact_lock({INTAKE_LOCK})")
        try:
            yield connection
        except BaseException:
            if not connection.is_closed():
                await connection.execute("rollback")
            raise
        # A transaction that has failed answers "commit" with a rollback, and no error.
        if await connection.execute("commit") != "COMMIT":
            raise DatabaseError("events could not be stored")


async def note(connection: Connection, event_ids: Collection[str]) -> tuple[set[str], int]:
    """Note that these events were taken in; those of them that are new, and `agents.version`."""
    rows = await connection.fetch(
        """
        with new as (
            insert into events select unnest($1::text[]) on conflict do nothing returning event_id)
        select event_id, (select version from world) as version from new
        """,
        sorted(set(event_ids)),
    )
    return {row["event_id"] for row in rows}, (rows[0]["version"] or 0) if rows else 0


async def load(connection: Connection, room_ids: Iterable[str]) -> dict[str, Room]:
    """The rooms that we know among these; of many humans fifty are as good as all."""
    rows = await connection.fetch(
        f"""
        select r.room_id, r.synced,
            array(select a.name from members join agents a using (user_id)
                  where room_id = r.room_id) as agents,
            array(select user_id from members where room_id = r.room_id
                  and user_id not in (select user_id from agents) limit {MOST_HUMANS}) as humans,
            exists (select from management m where m.room_id = r.room_id) as management
        from rooms r where r.room_id = any($1)
        """,
        list(room_ids),
    )
    return {
        row["room_id"]: Room(
            row["room_id"],
            row["synced"],
            frozenset(row["agents"]),
            frozenset(row["humans"]),
            row["management"],
        )
        for row in rows
    }


async def speakers(
    connection: Connection, rooms: Sequence[str], events: Sequence[str], threads: Sequence[str]
) -> tuple[dict[str, str], dict[str, frozenset[str]]]:
    """Which agent sent each of these events; which agents have spoken in each of these threads."""
    if not events and not threads:
        return {}, {}
    rows = await connection.fetch(
        """
        select 'event' as what, s.event_id as id, o.agent from sent s
            join outbox o on o.id = s.outbox_id where s.event_id = any($1)
        union
        select 'thread', o.thread, o.agent from outbox o
            left join turns t on t.id = o.turn_id
            where o.room_id = any($3) and o.thread = any($2) and o.sent_at is not null
              -- How a turn elsewhere came about is told in a thread, but nobody has spoken there.
              and (t.id is null or t.thread = o.thread)
        """,
        list(events),
        list(threads),
        list(rooms),
    )
    sent = {row["id"]: row["agent"] for row in rows if row["what"] == "event"}
    spoken: dict[str, frozenset[str]] = {}
    for row in rows:
        if row["what"] == "thread":
            spoken[row["id"]] = spoken.get(row["id"], frozenset()) | {row["agent"]}
    return sent, spoken


async def apply(connection: Connection, changes: Changes) -> None:
    """Write what events changed; a room that no agent is in any more is forgotten."""
    if changes.joined:
        rooms, users, names = zip(*changes.joined, strict=True)
        await connection.execute(
            "insert into rooms (room_id) select distinct unnest($1::text[]) on conflict do nothing",
            list(rooms),
        )
        await connection.execute(
            """
            insert into members select * from unnest($1::text[], $2::text[], $3::text[])
            on conflict (room_id, user_id) do update set display_name = excluded.display_name
            """,
            list(rooms),
            list(users),
            list(names),
        )
    if changes.left:
        rooms, users = zip(*changes.left, strict=True)
        await connection.execute(
            """
            delete from members where (room_id, user_id)
                in (select * from unnest($1::text[], $2::text[]))
            """,
            list(rooms),
            list(users),
        )
        await connection.execute(
            """
            delete from rooms where room_id = any($1) and not exists (
                select from members join agents using (user_id)
                where members.room_id = rooms.room_id)
            """,
            list(rooms),
        )


async def left(pool: Pool, room_id: str, user_id: str) -> None:
    """Somebody is not in a room although no event has told us so."""
    async with intake(pool) as connection:
        await apply(connection, Changes(left=[(room_id, user_id)]))


async def learn(connection: Connection, room_id: str, members: Mapping[str, str | None]) -> None:
    """Replace what we know of a room by what the homeserver says."""
    await connection.execute("delete from members where room_id = $1", room_id)
    await connection.execute(
        """
        insert into rooms (room_id, synced) values ($1, true)
        on conflict (room_id) do update set synced = true
        """,
        room_id,
    )
    await connection.execute(
        "insert into members select $1, * from unnest($2::text[], $3::text[])",
        room_id,
        list(members),
        list(members.values()),
    )


async def waiting(connection: Connection, room_id: str) -> list[tuple[int, dict[str, object]]]:
    """The events of a room that came before we knew it: inbox id and raw event, in order."""
    rows = await connection.fetch(
        """
        select id, payload from inbox
        where room_id = $1 and kind in ('arrived', 'unsorted') and done_at is null order by id
        """,
        room_id,
    )
    return [(row["id"], row["payload"]) for row in rows]


async def agents_in(pool: Pool, room_id: str) -> list[str]:
    """User ids of our agents that are joined to the room."""
    rows = await pool.fetch(
        """
        select user_id from members join agents using (user_id)
        where room_id = $1 order by main desc
        """,
        room_id,
    )
    return [row["user_id"] for row in rows]


async def users_in_rooms(pool: Pool) -> set[str]:
    """User ids of our agents that are joined to any room of the homeserver."""
    rows = await pool.fetch(
        "select distinct user_id from members join agents using (user_id)"
        " where left(room_id, 1) = '!'"
    )
    return {row["user_id"] for row in rows}


async def say_encrypted(connection: Connection, room_id: str) -> bool:
    """True the first time that it is asked for a room: say now that we cannot read there."""
    return bool(
        await connection.fetchval(
            """
            update rooms set told_encrypted = true
            where room_id = $1 and not told_encrypted returning true
            """,
            room_id,
        )
    )


async def any_events(pool: Pool) -> bool:
    """Whether anything was ever taken in."""
    return bool(
        await pool.fetchval("select exists (select from events) or exists (select from rooms)")
    )


async def seen(pool: Pool, event_ids: Sequence[str]) -> set[str]:
    """Which of these events have been taken in."""
    rows = await pool.fetch("select event_id from events where event_id = any($1)", list(event_ids))
    return {row["event_id"] for row in rows}
