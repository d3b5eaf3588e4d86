"""Agents as rows: who they are, and what is set for them at run time."""

from dataclasses import dataclass

from memtrix_as.config import Config
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.errors import LostTurn


@dataclass(frozen=True, slots=True)
class Agent:
    name: str
    user_id: str
    display_name: str
    main: bool
    model: str
    verbose: bool
    reasoning: bool
    shown_name: str | None = None
    recall: bool = True


async def load(db: Connection | Pool) -> list[Agent]:
    """All agents, the main one first."""
    rows = await db.fetch(
        """
        select name, user_id, display_name, main, model, "verbose", reasoning, shown_name,
            recall
        from agents order by main desc, name
        """
    )
    return [Agent(**row) for row in rows]


async def get(db: Connection | Pool, name: str) -> Agent:
    """One agent; LostTurn when it is not there any more."""
    for agent in await load(db):
        if agent.name == name:
            return agent
    raise LostTurn(f"the agent {name} is gone")


def main(config: Config) -> Agent:
    """The main agent as it is configured."""
    name, wanted = config.appservice.bot_username, config.main_agent
    user_id = f"@{name}:{config.homeserver.domain}"
    return Agent(name, user_id, wanted.name, True, wanted.model, wanted.verbose, wanted.reasoning)


async def keep_main(pool: Pool, agent: Agent) -> None:
    """See that the main agent is there as configured.

    Its `verbose` and `reasoning` only say how it begins: the human changes them at run time.
    """
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "update agents set main = false where main and name <> $1", agent.name
        )
        await connection.execute(
            """
            insert into agents (name, user_id, display_name, main, model, "verbose", reasoning)
            values ($1, $2, $3, true, $4, $5, $6)
            on conflict (name) do update set user_id = excluded.user_id, main = true,
                display_name = excluded.display_name, model = excluded.model
            """,
            agent.name,
            agent.user_id,
            agent.display_name,
            agent.model,
            agent.verbose,
            agent.reasoning,
        )


async def switch(db: Connection | Pool, name: str, setting: str, on: bool) -> None:
    """Set `verbose`, `reasoning` or `recall` of an agent."""
    column = {"verbose": '"verbose"', "reasoning": "reasoning", "recall": "recall"}[setting]
    await db.execute(f"update agents set {column} = $2 where name = $1", name, on)


async def shown(pool: Pool, name: str, display_name: str) -> None:
    """Note which display name the homeserver was told."""
    await pool.execute("update agents set shown_name = $2 where name = $1", name, display_name)
