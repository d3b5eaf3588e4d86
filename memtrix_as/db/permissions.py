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
    wary: bool  # also after text from outside


async def given(pool: Pool, agent: str, room_id: str, tool: str, *, wary: bool) -> str | None:
    """Who has said that the agent need not ask for this tool in this room.

    `wary`: that must have been said where text from outside stood before the model, as it does now.
    """
    found: str | None = await pool.fetchval(
        """
        select given_by from permissions
        where agent = $1 and room_id = $2 and tool = $3 and (wary or not $4)
        """,
        agent,
        room_id,
        tool,
        wary,
    )
    return found


async def give(
    connection: Connection, agent: str, room_id: str, tool: str, by: str, *, wary: bool
) -> None:
    """Let the agent use this tool in this room without asking, from now on."""
    await connection.execute(
        """
        insert into permissions (agent, room_id, tool, given_by, wary) values ($1, $2, $3, $4, $5)
        on conflict (agent, room_id, tool) do update set
            given_by = excluded.given_by, given_at = excluded.given_at, wary = excluded.wary
        where excluded.wary or not permissions.wary
        """,
        agent,
        room_id,
        tool,
        by,
        wary,
    )


async def all_in(db: Connection | Pool, agent: str, room_id: str) -> list[Permission]:
    """What the agent need not ask for in this room."""
    rows = await db.fetch(
        """
        select id, tool, given_by, given_at, wary from permissions
        where agent = $1 and room_id = $2 order by id
        """,
        agent,
        room_id,
    )
    return [Permission(**row) for row in rows]


async def revoke(connection: Connection, permission_id: int) -> None:
    await connection.execute("delete from permissions where id = $1", permission_id)
