"""The pool serves who comes first, whoever else is quick to ask again."""

import asyncio

from memtrix_as.db.pool import connect
from tests.rig.database import Database


async def test_nobody_overtakes_who_waits_for_a_connection(database: Database) -> None:
    """Some come right when others are about to wake."""
    pool = await connect(database.dsn, size=1)
    served: list[int] = []

    async def ask(number: int) -> None:
        async with pool.acquire() as connection:
            served.append(number)
            await connection.execute("select 1")

    tasks = []
    try:
        while len(tasks) < 300:
            tasks.append(asyncio.create_task(ask(len(tasks))))
            await asyncio.sleep(0 if len(tasks) > 20 else 0.001)
        await asyncio.gather(*tasks)
    finally:
        await pool.close()
    assert served == sorted(served)


async def test_a_place_is_free_again_whatever_ends_its_use(database: Database) -> None:
    pool = await connect(database.dsn, size=2)
    try:
        for n in range(20):
            task = asyncio.create_task(pool.execute("select pg_sleep(60)" if n % 2 else "nonsense"))
            await asyncio.sleep(0.02 if n % 4 else 0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(10), pool.acquire(), pool.acquire() as other:
            assert await other.fetchval("select 1") == 1
    finally:
        await pool.close()
