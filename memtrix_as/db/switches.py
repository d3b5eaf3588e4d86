"""Tools that are switched off at run time, for one agent or for all."""

from dataclasses import dataclass
from datetime import datetime

from memtrix_as.db.pool import Connection, Pool


@dataclass(frozen=True, slots=True)
class Off:
    """A tool that is not offered; `agent` is empty where that holds for all."""

    tool: str
    agent: str
    disabled_by: str
    disabled_at: datetime


async def every(db: Connection | Pool) -> list[Off]:
    """All that is switched off."""
    rows = await db.fetch(
        "select tool, agent, disabled_by, disabled_at from disabled_tools order by tool, agent"
    )
    return [Off(**row) for row in rows]


async def disable(db: Connection | Pool, tool: str, agent: str, by: str) -> None:
    """Switch a tool off, for an agent or ('') for all."""
    await db.execute(
        """
        insert into disabled_tools (tool, agent, disabled_by) values ($1, $2, $3)
        on conflict do nothing
        """,
        tool,
        agent,
        by,
    )


async def enable(db: Connection | Pool, tool: str, agent: str | None) -> None:
    """Switch a tool on again for an agent; None: wherever it is off."""
    await db.execute(
        "delete from disabled_tools where tool = $1 and ($2::text is null or agent = $2)",
        tool,
        agent,
    )
