"""What an agent may do in a room without asking each time, because somebody there said so."""

from dataclasses import dataclass
from datetime import datetime

from memtrix_as.db.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class Permission:
    """A tool that need not be asked for, and who said so."""

    id: int
    tool: str
    given_by: str
    given_at: datetime


async def given(pool: Pool, agent: str, room_id: str, tool: str) -> str | None:
    """Who has said that the agent need not ask for this tool in this room."""
    found: str | None = await pool.fetchval(
        "select given_by from permissions where agent = $1 and room_id = $2 and tool = $3",
        agent,
        room_id,
        tool,
    )
    return found


async def give(connection: Connection, agent: str, room_id: str, tool: str, by: str) -> None:
    """Let the agent use this tool in this room without asking, from now on."""
    await connection.execute(
        """
        insert into permissions (agent, room_id, tool, given_by) values ($1, $2, $3, $4)
        on conflict (agent, room_id, tool)
            do update set given_by = excluded.given_by, given_at = excluded.given_at
        """,
        agent,
        room_id,
        tool,
        by,
    )


async def all_in(db: Connection | Pool, agent: str, room_id: str) -> list[Permission]:
    """What the agent need not ask for in this room."""
    rows = await db.fetch(
        """
        select id, tool, given_by, given_at from permissions
        where agent = $1 and room_id = $2 order by id
        """,
        agent,
        room_id,
    )
    return [Permission(**row) for row in rows]


async def revoke(connection: Connection, permission_id: int) -> None:
    await connection.execute("delete from permissions where id = $1", permission_id)
