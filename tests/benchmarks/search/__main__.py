"""`python -m tests.benchmarks.search --sizes 1k,10k,100k`: times of a search, by the memory's size.

For each size, one agent with that many passages: a search with and without its vector, exact and
by the graph, with and without a wall of people and days; a write until it is found; the building
of the index and of the graph; bytes of each passage. Without `--model` no embedding is timed.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date
from itertools import cycle
from pathlib import Path
from typing import Any

from memtrix_as import database
from memtrix_as.db import hybrid, passages, pool, vectors
from memtrix_as.db.hybrid import Query
from memtrix_as.db.passages import Origin
from memtrix_as.local.postgres import EmbeddedPostgres
from memtrix_as.memory.embedder import LocalEmbedder
from tests.benchmarks.figures import ms, table
from tests.benchmarks.search.corpus import PEOPLE, Corpus

AGENT = "memtrix"
SOURCE = 500  # passages of one source, written together
TABLES = {
    "text": ("passages",),
    "words": ("postings", "terms"),
    "vectors": ("vectors",),
}


class Memory:
    """An agent's memory that is filled step by step."""

    def __init__(self, db: Any, corpus: Corpus, dimensions: int) -> None:
        self.db, self.corpus, self.dimensions = db, corpus, dimensions
        self.size = self.space = self.backend = 0

    def processor(self) -> float:
        """Seconds that this process and the database's one connection have computed."""
        fields = Path(f"/proc/{self.backend}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])  # proc_pid_stat(5): utime and stime
        return ticks / os.sysconf("SC_CLK_TCK") + time.process_time()

    async def begin(self) -> None:
        self.backend = await self.db.fetchval("select pg_backend_pid()")
        await self.db.execute(
            "insert into agents (name, user_id, display_name, model) values ($1, $1, $1, 'none')",
            AGENT,
        )
        self.space = await vectors.new_space(self.db, "none", self.dimensions, 0.0)

    async def fill(self, size: int) -> tuple[float, float]:
        """Grow to that size; seconds for the words, and for storing the vectors."""
        words = stored = 0.0
        while self.size < size:
            rows = list(self.corpus.rows(min(SOURCE, size - self.size)))
            origin = Origin(AGENT, f"source {self.size}")
            began = time.perf_counter()
            await passages.write(self.db, origin, rows)
            words += time.perf_counter() - began
            waiting = await vectors.waiting(self.db, self.space, SOURCE)
            made = [(passage.id, self.corpus.vector()) for passage in waiting]
            began = time.perf_counter()
            await vectors.add(self.db, self.space, made)
            stored += time.perf_counter() - began
            self.size += len(rows)
            print(f"\r{self.size} passages", end="", file=sys.stderr, flush=True)
        await self.db.execute("vacuum analyze", timeout=3600)
        return words, stored

    async def bytes(self) -> str:
        parts = []
        for name, tables in TABLES.items():
            size = 0
            for each in tables:
                size += await self.db.fetchval("select pg_total_relation_size($1::regclass)", each)
            parts.append(f"{name} {size / self.size:,.0f}")
        return ", ".join(parts)


async def timed(memory: Memory, count: int, ask: Callable[[], Awaitable[Any]]) -> str:
    """Median and 95th percentile, and the mean of the processor time of us and the database: on
    a busy machine it tells more than the clock."""
    for _ in range(10):
        await ask()
    spent = []
    used = memory.processor()
    for _ in range(count):
        began = time.perf_counter()
        await ask()
        spent.append(time.perf_counter() - began)
    return f"{ms(spent)} ({(memory.processor() - used) / count * 1000:.0f})"


async def measure(memory: Memory, count: int) -> dict[str, str]:
    db, corpus = memory.db, memory.corpus

    questions = cycle([(corpus.question(), corpus.vector()) for _ in range(count)])

    async def ask(graph: bool | None, near: bool = True, **walls: Any) -> list[int]:
        words, vector = next(questions)
        query = Query(AGENT, words, vector if near else None, memory.space, **walls)
        return [hit.id for hit in await hybrid.find(db, query, graph=graph)]

    async def write_and_find() -> None:
        row = next(corpus.rows(1))
        await passages.write(db, Origin(AGENT, "now"), [row])
        found = await hybrid.find(db, Query(AGENT, list(row.counts)[:8]))
        assert found
        await passages.write(db, Origin(AGENT, "now"), [])

    people = {"people": PEOPLE}
    walls = {**people, "first": date(2024, 6, 1), "last": date(2025, 6, 1)}
    found = {
        "words only": await timed(memory, count, lambda: ask(False, near=False)),
        "both, exact": await timed(memory, count, lambda: ask(False)),
        "exact, walls": await timed(memory, count, lambda: ask(False, **walls)),
    }
    began = time.perf_counter()
    await vectors.build_graph(db, memory.space, memory.dimensions)
    built = time.perf_counter() - began
    found |= {
        "both, graph": await timed(memory, count, lambda: ask(True)),
        "graph, walls": await timed(memory, count, lambda: ask(True, **walls)),
        "people, as it chooses": await timed(memory, count, lambda: ask(None, **people)),
        "write and find": await timed(memory, count // 2, write_and_find),
        "graph's recall": f"{await agreement(memory, count):.3f}",
        "words' recall": f"{await whole(memory, count // 4):.3f}",
        "graph built, s": f"{built:.1f}",
        "bytes": await memory.bytes(),
    }
    return found


async def agreement(memory: Memory, count: int) -> float:
    """The share of the ten nearest vectors that the graph finds."""
    same = 0
    for _ in range(count):
        query = Query(AGENT, [], memory.corpus.vector(), memory.space, limit=10)
        exact = {hit.id for hit in await hybrid.find(memory.db, query, graph=False)}
        same += len(exact & {hit.id for hit in await hybrid.find(memory.db, query, graph=True)})
    return same / count / 10


async def whole(memory: Memory, count: int) -> float:
    """The share of the ten best by BM25 that are found without reading all postings."""
    same = 0
    for _ in range(count):
        query = Query(AGENT, memory.corpus.question(), limit=10)
        found = {hit.id for hit in await hybrid.find(memory.db, query)}
        every = await hybrid.find(memory.db, replace(query, budget=10**9))
        same += len(found & {hit.id for hit in every})
    return same / count / 10


async def embedding(model: str) -> str:
    embedder = LocalEmbedder(model)
    began = time.perf_counter()
    await embedder.load()
    loaded = time.perf_counter() - began
    spent = []
    for n in range(50):
        began = time.perf_counter()
        await embedder.embed_query(f"What did we decide about boat {n}?")
        spent.append(time.perf_counter() - began)
    await embedder.close()
    return f"embedding a question: {ms(spent)} ms; the model was ready after {loaded:.1f} s"


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.search")
    parser.add_argument("--sizes", default="1k,10k,100k")
    parser.add_argument("--dimensions", type=int, default=768)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--model", help="a hub id or a folder, to time its embedding")
    options = parser.parse_args()
    sizes = [_number(size) for size in options.sizes.split(",")]
    columns: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with EmbeddedPostgres(Path(folder) / "postgres") as server:
            await database.migrate(server.dsn)
            db = await pool.connect(server.dsn, size=1)
            memory = Memory(db, Corpus(options.dimensions), options.dimensions)
            await memory.begin()
            for size in sizes:
                await db.execute(f"drop index if exists vectors_graph_{memory.space}")
                grown = size - memory.size
                words, stored = await memory.fill(size)
                column = await measure(memory, options.queries)
                column["a passage's words, ms"] = f"{words / max(1, grown) * 1000:.2f}"
                column["a vector, ms"] = f"{stored / max(1, grown) * 1000:.2f}"
                columns.append(column)
                names = list(column)
                shown = [[name, *(done[name] for done in columns)] for name in names]
                print(f"\n{options.dimensions} dimensions, p50 / p95 (processor) in ms\n")
                print(table(["", *map(str, sizes[: len(columns)])], shown), flush=True)
            await db.close()
    if options.model:
        print(await embedding(options.model))


def _number(size: str) -> int:
    return int(size.lower().replace("k", "000").replace("m", "000000"))


if __name__ == "__main__":
    asyncio.run(main())
