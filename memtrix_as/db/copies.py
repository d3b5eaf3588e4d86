"""All tables as they were at one moment, and back: PostgreSQL's own COPY, over our connection.

Not pg_dump: it need not be there, must not be older than the server, and its file is a script
that would be run. The rows are in COPY's binary form, which is the same for every PostgreSQL
that has their types; a vector takes two bytes a number in it, where text takes ten.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from memtrix_as.db.pool import Connection
from memtrix_as.errors import BackupError, DatabaseError

FOREVER = 7 * 86_400.0  # seconds: a large table takes as long as it takes


@dataclass(frozen=True, slots=True)
class Table:
    """One table; `next` is what its identity columns give out next."""

    name: str
    columns: Sequence[str]
    next: Mapping[str, int]


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Connection]:
    """One connection, for work that takes long."""
    try:
        connection = await asyncpg.connect(dsn, timeout=20)
    except (OSError, asyncpg.PostgresError, TimeoutError, ValueError) as exc:
        raise DatabaseError(f"appservice.database: PostgreSQL cannot be reached: {exc}") from exc
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def snapshot(connection: Connection) -> AsyncIterator[None]:
    """All that is read within is as it was at the beginning; nobody is kept from writing."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.fetchval("select count(*) from alembic_version")  # this is the moment
        yield


async def tables(connection: Connection) -> list[Table]:
    """Our tables. The engine's are not among them: its jobs are only bells, and are rung anew."""
    rows = await connection.fetch(
        """
        select c.relname as name,
            array_agg(a.attname::text order by a.attnum) as columns,
            array_agg(a.attname::text) filter (where a.attidentity <> '') as counted,
            array_agg(coalesce(pg_sequence_last_value(pg_get_serial_sequence(
                quote_ident(c.relname), a.attname)::regclass), 0) + 1)
                filter (where a.attidentity <> '') as next
        from pg_class c join pg_attribute a on a.attrelid = c.oid
        where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r'
          and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
          and c.relname <> 'alembic_version' and c.relname not like 'procrastinate\\_%'
        group by c.relname order by c.relname
        """
    )
    return [
        Table(row["name"], row["columns"],
              dict(zip(row["counted"] or (), row["next"] or (), strict=True)))
        for row in rows
    ]  # fmt: skip


async def out(
    connection: Connection, table: Table, take: Callable[[bytes], Awaitable[None]]
) -> int:
    """Hand over the rows of a table, piece by piece; returns how many there are."""
    told = await connection.copy_from_table(
        table.name, columns=table.columns, output=take, format="binary", timeout=FOREVER
    )
    return int(told.split()[-1])


@asynccontextmanager
async def replacing(connection: Connection, tables: Sequence[Table]) -> AsyncIterator[None]:
    """A transaction in which the tables are empty and may be filled in any order.

    No superuser is needed: references are taken away and made anew at the end, which checks them
    all; triggers of ours would do a second time what stands in the rows already.
    """
    try:
        async with connection.transaction():
            references = await _without_references(connection, [t.name for t in tables])
            yield
            await _with_references(connection, tables, references)
    except (asyncpg.PostgresError, asyncpg.InternalClientError) as exc:
        raise BackupError(f"The database does not take the backup's rows: {exc}") from exc


async def _without_references(connection: Connection, names: Sequence[str]) -> list[Connection]:
    quoted = [_quoted(name) for name in names]
    references = await connection.fetch(
        """
        select conrelid::regclass::text as name, quote_ident(conname) as reference,
            pg_get_constraintdef(oid) as definition
        from pg_constraint where contype = 'f' and conrelid = any($1::text[]::regclass[])
        """,
        quoted,
    )
    for row in references:
        await connection.execute(f"alter table {row['name']} drop constraint {row['reference']}")
    await connection.execute(f"truncate {', '.join(quoted)}")
    for name in quoted:
        await connection.execute(f"alter table {name} disable trigger user")
    return list(references)


async def _with_references(
    connection: Connection, tables: Sequence[Table], references: Sequence[Connection]
) -> None:
    for table in tables:
        name = _quoted(table.name)
        for column, value in table.next.items():  # unlike setval, undone by a rollback
            await connection.execute(
                f"alter table {name} alter column {_quoted(column)} restart with {int(value)}"
            )
        await connection.execute(f"alter table {name} enable trigger user")
    for row in references:
        await connection.execute(
            f"alter table {row['name']} add constraint {row['reference']} {row['definition']}",
            timeout=FOREVER,
        )


async def bring_in(connection: Connection, table: Table, source: AsyncIterator[bytes]) -> int:
    """Fill a table; returns how many rows it has now."""
    told = await connection.copy_to_table(
        table.name, columns=table.columns, source=source, format="binary", timeout=FOREVER
    )
    return int(told.split()[-1])


async def analyze(connection: Connection) -> None:
    """Let the planner know what is there now."""
    await connection.execute("analyze", timeout=FOREVER)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
