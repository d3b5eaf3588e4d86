"""What the management room shows of everything: rooms, sessions, open questions, figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from memtrix_as.db.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class RoomSeen:
    """A room that agents are in; `number` is what it can be called."""

    number: int
    room_id: str
    agents: Sequence[str]  # display names
    humans: Sequence[str]  # display names, or user ids
    last: datetime | None  # when an agent was last asked something there


@dataclass(frozen=True, slots=True)
class SessionSeen:
    """A conversation that goes on."""

    id: int
    agent: str  # display name
    agent_name: str  # key
    room_id: str
    room: int | None  # its number; None when no agent is in it any more
    humans: Sequence[str]
    messages: int
    tokens: int
    summarised: bool
    started_at: datetime
    last: datetime | None


@dataclass(frozen=True, slots=True)
class Figures:
    """How much there is of everything."""

    agents: int
    rooms: int
    running: int  # turns
    parked: int
    waiting: int  # inbox items that nobody has begun
    unsent: int
    failed: int  # turns of the last day
    size: int  # bytes of the database


_PEOPLE = """array(select coalesce(m.display_name, m.user_id) from members m
    where m.room_id = {0} and m.user_id not in (select user_id from agents)
    order by 1 limit 20)"""


async def rooms(db: Connection | Pool, *, room: str | None = None) -> list[RoomSeen]:
    """The rooms that agents are in, those with the latest words first; or the one of this id."""
    rows = await db.fetch(
        f"""
        select r.number, r.room_id,
            array(select a.display_name from members m join agents a using (user_id)
                  where m.room_id = r.room_id order by a.main desc, 1) as agents,
            {_PEOPLE.format("r.room_id")} as humans,
            (select max(t.started_at) from turns t join sessions s on s.id = t.session_id
             where s.room_id = r.room_id) as last
        from rooms r
        where r.room_id not in (select room_id from management) and left(r.room_id, 1) = '!'
          and ($1::text is null or r.room_id = $1)
        order by last desc nulls last, r.number
        """,
        room,
    )
    return [RoomSeen(**row) for row in rows]


async def room_of(db: Connection | Pool, number: int) -> str | None:
    """The room with this number."""
    found: str | None = await db.fetchval("select room_id from rooms where number = $1", number)
    return found


async def agents_in(db: Connection | Pool, room_id: str) -> list[str]:
    """The keys of the agents in a room."""
    rows = await db.fetch(
        """
        select a.name from members m join agents a using (user_id)
        where m.room_id = $1 order by a.main desc, a.name
        """,
        room_id,
    )
    return [row["name"] for row in rows]


async def rooms_of_agents(db: Connection | Pool) -> dict[str, int]:
    """In how many rooms of the homeserver each agent is, by its key."""
    rows = await db.fetch(
        """
        select a.name, count(*) as n from members m join agents a using (user_id)
        where left(m.room_id, 1) = '!' and m.room_id not in (select room_id from management)
        group by a.name
        """
    )
    return {row["name"]: row["n"] for row in rows}


async def sessions(db: Connection | Pool, session_id: int | None = None) -> list[SessionSeen]:
    """The conversations that go on, the latest first; or the one with this number."""
    rows = await db.fetch(
        f"""
        select s.id, a.display_name as agent, s.agent as agent_name, s.room_id, r.number as room,
            {_PEOPLE.format("s.room_id")} as humans, count(m.id)::int as messages,
            coalesce(sum(m.tokens) filter (where m.id > s.condensed_to), 0)::int as tokens,
            s.summary <> '' as summarised, s.started_at, max(m.created_at) as last
        from sessions s join agents a on a.name = s.agent
            left join rooms r on r.room_id = s.room_id and left(r.room_id, 1) <> '>'
            left join messages m on m.session_id = s.id
        where s.ended_at is null and ($1::bigint is null or s.id = $1)
        group by s.id, a.name, r.room_id having $1::bigint is not null or count(m.id) > 0
        order by last desc nulls last, s.id desc
        """,
        session_id,
    )
    return [SessionSeen(**row) for row in rows]


@dataclass(frozen=True, slots=True)
class Said:
    """A message of a session, as an operator is shown it."""

    role: str
    text: str
    created_at: datetime


async def last_said(db: Connection | Pool, session_id: int, most: int) -> list[Said]:
    """The newest words of a session, oldest first; what tools said is left out."""
    rows = await db.fetch(
        """
        select role, text, created_at from (
            select id, role, text, created_at from messages
            where session_id = $1 and role in ('user', 'assistant') and text <> ''
            order by id desc limit $2) newest
        order by id
        """,
        session_id,
        most,
    )
    return [Said(**row) for row in rows]


async def end_session(connection: Connection, session_id: int) -> bool:
    """Let the next message begin a fresh conversation; False if it has ended already."""
    return bool(
        await connection.fetchval(
            "update sessions set ended_at = now() where id = $1 and ended_at is null"
            " returning true",
            session_id,
        )
    )


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """A call that waits for a human's yes, in whatever room."""

    id: int
    agent: str
    tool: str
    asked: str
    room: int | None
    expires_at: datetime


async def open_approvals(db: Connection | Pool) -> list[OpenQuestion]:
    """All open questions of all agents."""
    rows = await db.fetch(
        """
        select p.id, a.display_name as agent, p.tool, p.asked, r.number as room,
            p.expires_at
        from approvals p join agents a on a.name = p.agent
            left join rooms r on r.room_id = p.room_id and left(r.room_id, 1) <> '>'
        where p.state = 'open' order by p.id
        """
    )
    return [OpenQuestion(**row) for row in rows]


async def figures(db: Connection | Pool) -> Figures:
    """How much there is of everything now."""
    row = await db.fetchrow(
        """
        select (select count(*) from agents where state = 'active') as agents,
            (select count(*) from rooms where left(room_id, 1) = '!'
                and room_id not in (select room_id from management)) as rooms,
            (select count(*) from turns where state = 'running') as running,
            (select count(*) from turns where state = 'parked') as parked,
            (select count(*) from inbox where done_at is null and attempts = '{}') as waiting,
            (select count(*) from outbox where sent_at is null and failed is null) as unsent,
            (select count(*) from turns
             where state = 'failed' and ended_at > now() - interval '1 day') as failed,
            pg_database_size(current_database()) as size
        """
    )
    return Figures(**row)


async def parts(db: Connection | Pool) -> tuple[str, str | None]:
    """PostgreSQL's version and pgvector's, None where that is not installed."""
    row = await db.fetchrow(
        """
        select current_setting('server_version') as server,
            (select extversion from pg_extension where extname = 'vector') as vector
        """
    )
    return row["server"].split()[0], row["vector"]


async def versions(db: Connection | Pool) -> tuple[str, str, str]:
    """PostgreSQL's version, pgvector's, and the number of our last migration."""
    server, vector = await parts(db)
    schema = await db.fetchval("select version_num from alembic_version")
    return server, vector or "none", schema


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits, and since how many seconds the oldest of it does."""

    inbox: int
    inbox_age: float
    outbox: int
    outbox_age: float
    parked: int  # turns
    approvals: int  # open questions
    agents: int


async def backlog(db: Connection | Pool) -> Backlog:
    """What waits now. One statement, over partial indexes of what is not done."""
    row = await db.fetchrow(
        """
        select i.n as inbox, i.age as inbox_age, o.n as outbox, o.age as outbox_age,
            (select count(*) from turns where state = 'parked') as parked,
            (select count(*) from approvals where state = 'open') as approvals,
            (select count(*) from agents where state = 'active') as agents
        from (select count(*) as n,
                  coalesce(extract(epoch from now() - min(received_at)), 0)::float8 as age
              from inbox where done_at is null) as i,
             (select count(*) as n,
                  coalesce(extract(epoch from now() - min(created_at)), 0)::float8 as age
              from outbox where sent_at is null and failed is null) as o
        """
    )
    return Backlog(**row)
