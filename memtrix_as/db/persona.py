"""Every text that a core file ever had."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from memtrix_as.db.pool import Connection, Pool, clean

Author = Literal["template", "agent", "human", "undo"]


@dataclass(frozen=True, slots=True)
class Version:
    """A text of a file; `number` counts from 1, and the newest is what the file is to be."""

    id: int
    number: int
    author: Author
    writer: str | None  # author "agent": the display name of the one who wrote
    created_at: datetime
    size: int  # characters
    text: str
    placed: bool  # False: on its way into the file


@asynccontextmanager
async def locked(
    pool: Pool, agent: str, file: str, within: Connection | None = None
) -> AsyncIterator[Connection]:
    """A transaction (or a part of `within`) in which nobody else touches the file's versions."""
    if within is None:
        async with pool.acquire() as connection, connection.transaction():
            await _lock(connection, agent, file)
            yield connection
    else:
        async with within.transaction():
            await _lock(within, agent, file)
            yield within


async def _lock(connection: Connection, agent: str, file: str) -> None:
    await connection.execute(
        "select pg_advisory_xact_lock(hashtextextended($1, 0))", f"persona {agent} {file}"
    )


async def last(connection: Connection, agent: str, file: str) -> list[Version]:
    """The newest version and the one before it, as far as there are such."""
    return await _versions(connection, agent, file, "where back <= 2")


async def one(connection: Connection, agent: str, file: str, number: int) -> Version | None:
    """The version with this number."""
    found = await _versions(connection, agent, file, "where number = $3", number)
    return found[0] if found else None


async def history(connection: Connection, agent: str, file: str, most: int) -> list[Version]:
    """The newest versions, the newest first."""
    return await _versions(connection, agent, file, "where back <= $3", most)


async def _versions(
    connection: Connection, agent: str, file: str, which: str, *values: int
) -> list[Version]:
    rows = await connection.fetch(
        f"""
        select v.id, number::int, author, created_at, length(text) as size, text, placed,
            (select display_name from turns t join sessions s on s.id = t.session_id
                 join agents a on a.name = s.agent where t.id = v.turn_id) as writer
        from (select id, row_number() over (order by id) as number,
                  row_number() over (order by id desc) as back
              from persona_versions where agent = $1 and file = $2) n
        join persona_versions v on v.id = n.id {which}
        order by v.id desc
        """,
        agent,
        file,
        *values,
    )
    return [Version(**row) for row in rows]


async def add(
    connection: Connection,
    agent: str,
    file: str,
    text: str,
    author: Author,
    *,
    turn_id: int | None = None,
    placed: bool = True,
) -> None:
    """Keep a version, unless it is the newest already, or its agent is gone."""
    await connection.execute(
        """
        insert into persona_versions (agent, file, text, author, turn_id, placed)
        select $1, $2, $3, $4, $5, $6
        where exists (select from agents where name = $1) and $3 is distinct from (
            select text from persona_versions
            where agent = $1 and file = $2 order by id desc limit 1)
        """,
        agent,
        file,
        clean(text),
        author,
        turn_id,
        placed,
    )


async def arrived(connection: Connection, version_id: int) -> None:
    """The version stands in the file now."""
    await connection.execute("update persona_versions set placed = true where id = $1", version_id)


async def drop(connection: Connection, version_id: int) -> None:
    """The version never came into the file."""
    await connection.execute(
        "delete from persona_versions where id = $1 and not placed", version_id
    )
