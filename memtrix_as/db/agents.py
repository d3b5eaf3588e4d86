"""Agents as rows: who they are, and what is set for them at run time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import asyncpg

from memtrix_as.config import Config
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.errors import LostTurn

LAST_WORDS = 20  # times that an agent's rows are seen to be still written to
NAMING = 0x4D580002  # the advisory lock of who makes, renames or removes agents

State = Literal["active", "leaving", "archived"]
COLUMNS = """name, user_id, display_name, main, model, "verbose", reasoning, shown_name, recall,
    state, purge, expertise, created_by, registered, avatar"""


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent; `name` is its key for ever, and its folder; people know its `display_name`."""

    name: str
    user_id: str  # empty once it is archived: the account may be another's then
    display_name: str
    main: bool
    model: str
    verbose: bool
    reasoning: bool
    shown_name: str | None = None  # the display name that the homeserver was told
    recall: bool = True
    state: State = "active"
    purge: bool = False  # leaving: its data goes with it
    expertise: str = ""
    created_by: str | None = None
    registered: bool = False  # the homeserver has its user
    avatar: str | None = None  # the mxc URI that the homeserver was told


async def load(db: Connection | Pool, state: State = "active") -> list[Agent]:
    """All agents of a state, the main one first."""
    rows = await db.fetch(
        f"select {COLUMNS} from agents where state = $1 order by main desc, name", state
    )
    return [Agent(**row) for row in rows]


async def get(db: Connection | Pool, name: str) -> Agent:
    """One agent; LostTurn when it is not there any more."""
    row = await db.fetchrow(
        f"select {COLUMNS} from agents where name = $1 and state = 'active'", name
    )
    if row is None:
        raise LostTurn(f"the agent {name} is gone")
    return Agent(**row)


async def version(db: Connection | Pool) -> int:
    """Counts the changes of who our agents are and what they are called."""
    return int(await db.fetchval("select coalesce(max(version), 0) from world"))


def main(config: Config) -> Agent:
    """The main agent as it is configured."""
    name, wanted = config.appservice.bot_username, config.main_agent
    user_id = f"@{name}:{config.homeserver.domain}"
    return Agent(name, user_id, wanted.name, True, wanted.model, wanted.verbose, wanted.reasoning)


async def keep_main(pool: Pool, agent: Agent) -> None:
    """See that the main agent is there as configured.

    Its `verbose` and `reasoning` only say how it begins: the human changes them at run time. So
    does its model, until another one stands in the file.
    """
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "update agents set main = false where main and name <> $1", agent.name
        )
        await connection.execute(
            """
            insert into agents (name, user_id, display_name, main, model, configured, "verbose",
                reasoning)
            values ($1, $2, $3, true, $4, $4, $5, $6)
            on conflict (name) do update set user_id = excluded.user_id, main = true,
                state = 'active', display_name = excluded.display_name,
                model = case when agents.configured is distinct from excluded.configured
                    then excluded.model else agents.model end,
                configured = excluded.configured
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


async def use(db: Connection | Pool, name: str, model: str) -> None:
    """Give an agent another model."""
    await db.execute("update agents set model = $2 where name = $1", name, model)


async def call(db: Connection | Pool, name: str, display_name: str) -> None:
    """Give an agent another name to be known by."""
    await db.execute("update agents set display_name = $2 where name = $1", name, display_name)


@asynccontextmanager
async def naming(pool: Pool) -> AsyncIterator[Connection]:
    """A transaction in which nobody else makes, renames or removes agents."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(f"select pg_advisory_xact_lock({NAMING})")
        yield connection


async def add(connection: Connection, agent: Agent) -> None:
    """A new agent; its name and user id must be free."""
    await connection.execute(
        """
        insert into agents (name, user_id, display_name, model, expertise, created_by)
        values ($1, $2, $3, $4, $5, $6)
        """,
        agent.name,
        agent.user_id,
        agent.display_name,
        agent.model,
        agent.expertise,
        agent.created_by,
    )


async def known(pool: Pool, agent: Agent) -> None:
    """Note what the homeserver was told of an agent."""
    await pool.execute(
        "update agents set registered = $2, shown_name = $3, avatar = $4 where name = $1",
        agent.name,
        agent.registered,
        agent.shown_name,
        agent.avatar,
    )


async def unknown(pool: Pool) -> None:
    """The homeserver is another than it was: it has been told nothing."""
    await pool.execute("update agents set registered = false, shown_name = null, avatar = null")


async def leave(connection: Connection, name: str, *, purge: bool) -> None:
    """Let an agent do nothing more: from here on it only goes out of its rooms."""
    await connection.execute(
        "update agents set state = 'leaving', purge = $2 where name = $1", name, purge
    )


async def archive(pool: Pool, name: str) -> None:
    """Keep the data of an agent that has left its rooms; name and user id are free again."""
    await pool.execute(
        """
        -- In a room that it could not leave it would count as a human from now on.
        with left_behind as (
            delete from members where user_id in (
                select user_id from agents where name = $1 and state = 'leaving'))
        update agents set state = 'archived', user_id = '', registered = false, shown_name = null,
            avatar = null
        where name = $1 and state = 'leaving'
        """,
        name,
    )


async def restore(connection: Connection, name: str, user_id: str, display_name: str) -> None:
    """Have an archived agent back."""
    await connection.execute(
        """
        update agents set state = 'active', user_id = $2, display_name = $3
        where name = $1 and state = 'archived'
        """,
        name,
        user_id,
        display_name,
    )


async def purge(pool: Pool, name: str, last: Callable[[], Awaitable[None]]) -> None:
    """Delete an agent that has left its rooms, or is archived, with all that it knew.

    What is cut short at the same moment may still write its last words: then once more. `last` is
    done before the name is free again, and not if another process has deleted it meanwhile.
    """
    for tries in range(LAST_WORDS, -1, -1):
        try:
            async with pool.acquire() as connection, connection.transaction():
                if await connection.fetchval(
                    "select true from agents where name = $1 and state <> 'active' for update", name
                ):
                    for statement in PURGE:
                        await connection.execute(statement, name, timeout=600)
                    await last()
            return
        except (asyncpg.ForeignKeyViolationError, asyncpg.DeadlockDetectedError):
            if not tries:
                raise
        await asyncio.sleep(0.2)


_TURNS = "select t.id from turns t join sessions s on s.id = t.session_id where s.agent = $1"
# From what points to what is pointed at; the memory goes with the agent's own row.
PURGE = (
    "delete from approvals where agent = $1",
    "delete from consultations where caller = $1 or asked = $1",
    "delete from sent where outbox_id in (select id from outbox where agent = $1)",
    "update outbox set replaces = null where agent = $1 and replaces is not null",
    "delete from outbox where agent = $1",
    f"update outbox set turn_id = null where turn_id in ({_TURNS})",
    f"update persona_versions set turn_id = null where turn_id in ({_TURNS})",
    f"update journal_entries set turn_id = null where turn_id in ({_TURNS})",
    "delete from messages where session_id in (select id from sessions where agent = $1)",
    f"delete from turns where id in ({_TURNS})",
    "delete from sessions where agent = $1",
    "delete from inbox where agent = $1",
    "delete from members where user_id in (select user_id from agents where name = $1)",
    "delete from agents where name = $1",
)


@dataclass(frozen=True, slots=True)
class Holdings:
    """What belongs to an agent, as far as the database knows."""

    rooms: int
    sessions: int
    messages: int
    days: int  # of its journal
    passages: int  # of its memory


async def holdings(pool: Pool, name: str) -> Holdings:
    """What would go with an agent."""
    row = await pool.fetchrow(
        """
        select
            (select count(*) from members join agents using (user_id)
             where name = $1 and left(room_id, 1) = '!') as rooms,
            (select count(*) from sessions where agent = $1) as sessions,
            (select count(*) from messages m join sessions s on s.id = m.session_id
             where s.agent = $1) as messages,
            (select count(distinct day) from journal_entries
             where agent = $1 and removed_at is null) as days,
            (select count(*) from passages where agent = $1) as passages
        """,
        name,
    )
    return Holdings(**row)


async def undone(connection: Connection, name: str) -> list[tuple[str, int, str]]:
    """Turns of an agent that are under way, locked, the oldest first: lane, id, state."""
    await connection.execute(
        """
        select from inbox where agent = $1 and done_at is null order by id for update
        """,
        name,
    )
    rows = await connection.fetch(
        """
        select i.lane, i.id, t.state from inbox i join turns t using (id)
        where i.agent = $1 and i.done_at is null order by i.id
        """,
        name,
    )
    return [(row["lane"], row["id"], row["state"]) for row in rows]


async def drop_waiting(connection: Connection, name: str) -> None:
    """Let nothing more be done that waits for an agent, or be sent that it has not begun to say."""
    await connection.execute(
        """
        update inbox set done_at = now(), error = 'its agent is gone'
        where agent = $1 and done_at is null
        """,
        name,
    )
    await connection.execute(
        """
        update outbox set failed = 'the agent is gone'
        where agent = $1 and sent_at is null and failed is null and replaces is null
        """,
        name,
    )
