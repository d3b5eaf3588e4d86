"""Files that came with messages: where they are, and who may know them."""

from collections.abc import Sequence
from dataclasses import dataclass

from memtrix_as.db.pool import Connection, Pool, clean
from memtrix_as.messages import Kept


@dataclass(frozen=True, slots=True)
class Known:
    """A file that came with a message; `people` may know it."""

    agent: str
    path: str
    people: Sequence[str]


async def find(db: Connection | Pool, agent: str, event_id: str) -> Kept | None:
    """The file that came with an event, if it was kept for the agent."""
    row = await db.fetchrow(
        "select name, mimetype, size, path from attachments where event_id = $1 and agent = $2",
        event_id,
        agent,
    )
    return Kept(**row) if row else None


async def answered(pool: Pool, item_id: int) -> bool:
    """Whether the turn that answers a message has begun, as itself or with another."""
    return bool(
        await pool.fetchval(
            """
            select exists (select from turns t join inbox i on t.id = coalesce(i.joined_to, i.id)
                           where i.id = $1)
            """,
            item_id,
        )
    )


async def add(pool: Pool, item_id: int, event_id: str, kept: Kept) -> None:
    """Note a file for the agent of an inbox item; whoever was in the room then may know it.

    Its sender may in any case. A second time changes nothing.
    """
    await pool.execute(
        """
        insert into attachments (event_id, agent, room_id, path, name, mimetype, size, people)
        select $2, agent, room_id, $3, $4, $5, $6,
            array(select distinct unnest(coalesce(people, '{}') || (payload->>'sender')))
        from inbox where id = $1
        on conflict do nothing
        """,
        item_id,
        event_id,
        kept.path,
        clean(kept.name),
        kept.mimetype,
        kept.size,
    )


async def imported(pool: Pool, agent: str, files: Sequence[Kept], people: Sequence[str]) -> None:
    """Note files that came with messages elsewhere; these people may know them.

    A second time changes nothing.
    """
    await pool.executemany(
        """
        insert into attachments (event_id, agent, room_id, path, name, mimetype, size, people)
        values ('imported ' || $2, $1, '', $2, $3, $4, $5, $6) on conflict do nothing
        """,
        [(agent, f.path, f.name, f.mimetype, f.size, list(people)) for f in files],
    )


async def at(pool: Pool, agent: str, path: str) -> list[Known]:
    """What is known of a path, however a file system may spell it."""
    rows = await pool.fetch(
        """
        select agent, path, people from attachments
        where agent = $1 and lower(normalize(path, nfkc)) = lower(normalize($2, nfkc))
        """,
        agent,
        clean(path),
    )
    return [Known(**row) for row in rows]


async def kept_from(pool: Pool, agent: str, people: Sequence[str]) -> set[str]:
    """The paths of an agent's attachments that not all of these people may know."""
    rows = await pool.fetch(
        "select path from attachments where agent = $1 and not people @> $2::text[]",
        agent,
        list(people),
    )
    return {row["path"] for row in rows}


async def withdrawn(connection: Connection, room_id: str, event_id: str) -> list[Known]:
    """Forget the files that came with an event; where they are that no other event brought."""
    rows = await connection.fetch(
        """
        delete from attachments where room_id = $1 and event_id = $2 returning agent, path, people
        """,
        room_id,
        event_id,
    )
    return [Known(**row) for row in rows]
