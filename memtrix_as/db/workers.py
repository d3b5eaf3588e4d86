"""Who lives of those that work on this database: each holds a lock while its connection stands."""

import asyncpg

from memtrix_as.db.pool import Connection, Pool

# Two-key advisory locks: this class, and the worker's id.
LOCKS = 0x4D58


async def lock(connection: Connection, worker_id: int) -> None:
    """Take the lock that tells others that this worker lives; it goes with the connection."""
    await connection.execute("select pg_advisory_lock($1, $2)", LOCKS, worker_id)


async def served(db: Connection | Pool) -> bool:
    """Whether any worker lives."""
    return bool(
        await db.fetchval(
            """
            select exists (select from pg_locks where locktype = 'advisory' and objsubid = 2
                and classid = $1::bigint::oid
                and database = (select oid from pg_database where datname = current_database()))
            """,
            LOCKS,
        )
    )


def stands(connection: Connection) -> bool:
    """Whether a connection is open, as far as is known here; what it locked went with it if not."""
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:  # it is gone, and its pool has taken it back
        return False


async def unlock(connection: Connection) -> None:
    """Give the lock back, unless it went with its connection."""
    if stands(connection):
        await connection.execute("select pg_advisory_unlock_all()")


async def processes(db: Connection | Pool) -> int:
    """How many work on this database, terminals among them, and we while our worker runs."""
    return int(
        await db.fetchval(
            """
            select count(*) from pg_locks where locktype = 'advisory' and classid = $1::oid
              and database = (select oid from pg_database where datname = current_database())
            """,
            LOCKS,
        )
    )
