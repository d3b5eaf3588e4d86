"""Vectors of passages: which are missing, which model's serve, and the graph over many."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from memtrix_as.db import bell
from memtrix_as.db.pool import Pool

MOST_DIMENSIONS = 4000  # of a halfvec with a graph, and of what fits a page


@dataclass(frozen=True, slots=True)
class Space:
    """What one model made: vectors of different spaces never meet.

    `background` is the cosine that texts have there which have nothing to do with each other.
    """

    id: int
    model: str
    background: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """A passage without a vector."""

    id: int
    text: str


async def find_space(pool: Pool, model: str, dimensions: int) -> int | None:
    """The space that the model's vectors go to: the newest, if it has been renewed."""
    found: int | None = await pool.fetchval(
        "select max(id) from spaces where model = $1 and dimensions = $2", model, dimensions
    )
    return found


async def new_space(pool: Pool, model: str, dimensions: int, background: float) -> int:
    """An empty space for the model, beside any that serve; whoever fills it is rung."""
    return int(
        await pool.fetchval(
            f"""
            with made as (
                insert into spaces (model, dimensions, background) values ($1, $2, $3)
                returning id)
            select id from made, pg_notify('{bell.PASSAGES}', '')
            """,
            model,
            dimensions,
            background,
        )
    )


async def serving(pool: Pool, models: Sequence[str]) -> Space | None:
    """The space to search, of those whose model can be asked now.

    One that has all vectors comes before a newer one that is still being filled.
    """
    row = await pool.fetchrow(
        """
        select id, model, background from spaces where model = any($1)
        order by complete_at is null, id desc limit 1
        """,
        list(models),
    )
    return Space(**row) if row else None


async def former(pool: Pool, model: str) -> str | None:
    """The model whose vectors serve, as long as those of `model` are not complete."""
    found: str | None = await pool.fetchval(
        """
        select model from spaces where model <> $1 and complete_at is not null and not exists (
            select from spaces where model = $1 and complete_at is not null)
        order by id desc limit 1
        """,
        model,
    )
    return found


async def served(pool: Pool, space: int) -> bool:
    """Whether a space has had all vectors once."""
    return bool(
        await pool.fetchval("select complete_at is not null from spaces where id = $1", space)
    )


async def complete(pool: Pool, space: int) -> list[int]:
    """Note that a space has all vectors; returns the other spaces, which nobody needs now.

    One of the same model that is being made anew stays, whoever is still at the one before it.
    """
    await pool.execute(
        "update spaces set complete_at = now() where id = $1 and complete_at is null", space
    )
    rows = await pool.fetch(
        """
        select other.id from spaces other join spaces s on s.id = $1 and s.complete_at is not null
        where other.id <> s.id and (other.model <> s.model or other.id < s.id)
        """,
        space,
    )
    return [row["id"] for row in rows]


async def waiting(pool: Pool, space: int, limit: int) -> list[Waiting]:
    """Passages that have no vector in the space, the newest first: they are asked for soonest."""
    rows = await pool.fetch(
        """
        select p.id, p.indexed as text from passages p
        where not exists (select from vectors v where v.passage = p.id and v.space = $1)
        order by p.id desc limit $2
        """,
        space,
        limit,
    )
    return [Waiting(**row) for row in rows]


async def missing(pool: Pool, space: int) -> tuple[int, int]:
    """How many passages have no vector in the space, and how many there are."""
    row = await pool.fetchrow(
        """
        select (select coalesce(sum(passages), 0) from memories)::int as passages,
            (select count(*) from vectors where space = $1)::int as done
        """,
        space,
    )
    return row["passages"] - row["done"], row["passages"]


async def add(pool: Pool, space: int, vectors: Sequence[tuple[int, Sequence[float]]]) -> None:
    """Store vectors of passages; those that went meanwhile, or have one, are passed over."""
    await pool.executemany(
        """
        insert into vectors (passage, space, agent, audience, day, vector)
        select p.id, $2, p.agent, p.audience, p.day, $3::real[]::halfvec
        from passages p where p.id = $1 for key share
        on conflict do nothing
        """,
        [(passage, space, vector) for passage, vector in vectors],
    )


async def drop(pool: Pool, space: int) -> None:
    """Forget a space with its vectors and its graph."""
    await pool.execute(f"drop index if exists vectors_graph_{int(space)}")
    await pool.execute("delete from spaces where id = $1", space)


async def build_graph(pool: Pool, space: int, dimensions: int) -> None:
    """Make the HNSW graph over a space; searches and writes go on meanwhile."""
    name = f"vectors_graph_{int(space)}"
    async with pool.acquire() as connection:
        await connection.execute("set maintenance_work_mem = '512MB'")
        try:
            await connection.execute(
                f"create index concurrently if not exists {name} on vectors"
                f" using hnsw ((vector::halfvec({int(dimensions)})) halfvec_ip_ops)"
                f" where space = {int(space)}",
                timeout=24 * 3600,
            )
        except (asyncpg.PostgresError, TimeoutError):
            await connection.execute(f"drop index if exists {name}")  # an invalid one would stay
            raise
        finally:
            await connection.execute("reset maintenance_work_mem")


async def has_graph(pool: Pool, space: int) -> bool:
    return bool(
        await pool.fetchval(
            "select indisvalid from pg_index where indexrelid = to_regclass($1)",
            f"vectors_graph_{int(space)}",
        )
    )


async def largest(pool: Pool) -> int:
    """How many passages the agent with the most has."""
    return int(await pool.fetchval("select coalesce(max(passages), 0) from memories"))
