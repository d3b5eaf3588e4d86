"""What an agent has looked at in a session: only that may it write anew."""

from memtrix_as.db.pool import Connection, Pool


async def look(db: Connection | Pool, session_id: int, name: str, hash_: bytes) -> None:
    """Note that the session saw the text with this hash under this name."""
    await db.execute(
        """
        insert into looks (session_id, name, hash) values ($1, $2, $3)
        on conflict (session_id, name) do update set hash = excluded.hash, looked_at = now()
        """,
        session_id,
        name,
        hash_,
    )


async def looked(db: Connection | Pool, session_id: int, name: str) -> bytes | None:
    """The hash of what the session saw last under this name; None if it never looked."""
    found: bytes | None = await db.fetchval(
        "select hash from looks where session_id = $1 and name = $2", session_id, name
    )
    return found
