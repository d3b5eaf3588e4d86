"""The hybrid search: BM25 over words and nearness of vectors, fused in one statement.

BM25 as in Robertson & Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009),
with k1 = 1.2, b = 0.75 and the inverse document frequency ln(1 + (N - n + 0.5) / (n + 0.5)); the
constant factor k1 + 1 is left out. Fused as a convex sum of scores, each divided by the best of
its kind (Bruch et al., "An Analysis of Fusion Functions for Hybrid Retrieval", 2023).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from memtrix_as.db.pool import Connection, Pool

Vector = Sequence[float]

POOL = 100  # candidates of each kind that are scored in full
BUDGET = 15_000  # postings read to find candidates, those of the rarest words first
GRAPH_FROM = 10_000  # passages of one agent from which on the vectors' graph is asked


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of an agent's memory."""

    agent: str
    words: Sequence[str]
    vector: Vector | None = None  # unit length, of the space
    space: int = 0
    people: Sequence[str] | None = None  # all of them must know what is found; None: no matter
    first: date | None = None
    last: date | None = None
    weight: float = 0.5  # of the vectors
    limit: int = 60
    budget: int = BUDGET
    telling: Sequence[str] = ()  # those of the words that `covered` is about; none: all


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that may answer.

    `score` compares within one answer. `covered` and `cosine` compare across answers: the BM25
    as a share of what could be reached with the query's words, and the cosine of the vectors.
    """

    id: int
    source: str
    start: int
    day: date
    heading: str
    parts: list[str]
    messages: list[int]
    events: list[str]
    room_id: str | None
    score: float
    covered: float
    cosine: float | None


_KNOWN = "people @> {0} or '*' = any(people)"  # to all of these


class _Arguments(list[Any]):
    def add(self, value: Any, kind: str) -> str:
        self.append(value)
        return f"${len(self)}::{kind}"


async def find(pool: Pool, query: Query, *, graph: bool | None = None) -> list[Found]:
    """The best passages first; by words alone where there is no vector.

    `graph` decides, for measurements, whether the vectors' graph (HNSW) is asked; else it is when
    it pays.
    """
    async with pool.acquire() as connection:
        dimensions = 0
        if query.vector is not None and graph is not False:
            dimensions = await _graph(connection, query, 0 if graph else GRAPH_FROM)
        arguments = _Arguments()
        sql = _statement(query, arguments, dimensions)
        if not dimensions:
            return [Found(**row) for row in await connection.fetch(sql, *arguments)]
        async with connection.transaction(readonly=True):
            # Without iterative scans a filter leaves fewer than were asked for, or none.
            await connection.execute(
                f"set local hnsw.ef_search = {POOL}; set local enable_sort = off;"
                " set local hnsw.iterative_scan = relaxed_order"
            )
            return [Found(**row) for row in await connection.fetch(sql, *arguments)]


async def _graph(connection: Connection, query: Query, least: int) -> int:
    """The dimensions of the space if it has a graph that pays for this agent, else 0."""
    found: int | None = await connection.fetchval(
        """
        select s.dimensions from spaces s, memories m
        where s.id = $1 and m.agent = $2 and m.passages >= $3
          and (select indisvalid from pg_index
               where indexrelid = to_regclass('vectors_graph_' || s.id))
        """,
        query.space,
        query.agent,
        least,
    )
    return found or 0


def _filters(query: Query, arguments: _Arguments) -> tuple[str, str]:
    """Conditions on a row with `audience` and `day`, and on a posting `p` that has neither.

    Where everything is known to everyone present, which the same statement asks, postings need
    not be looked up one by one.
    """
    conditions = []
    open_to_all = "false"
    if query.people is not None:
        people = arguments.add(sorted(set(query.people)), "text[]")
        conditions.append(
            f"audience = any (array(select id from audiences where {_KNOWN.format(people)}))"
        )
        open_to_all = (
            f"(select not exists (select from audiences where not ({_KNOWN.format(people)})))"
        )
    if query.first or query.last:
        open_to_all = "false"
    if query.first:
        conditions.append(f"day >= {arguments.add(query.first, 'date')}")
    if query.last:
        conditions.append(f"day <= {arguments.add(query.last, 'date')}")
    if not conditions:
        return "true", "true"
    row = " and ".join(conditions)
    return row, f"({open_to_all} or exists (select from passages where id = p.passage and {row}))"


def _statement(query: Query, arguments: _Arguments, dimensions: int) -> str:
    agent = arguments.add(query.agent, "text")
    words = arguments.add(sorted(set(query.words)), "text[]")
    telling = arguments.add(sorted(set(query.telling or query.words)), "text[]")
    allowed, seen = _filters(query, arguments)
    near = "select null::int as passage, null::float8 as cosine where false"
    cosine = "null::float8"
    if query.vector is not None:
        # As an array and in a subselect: a text would be parsed again for every row.
        vector = f"(select {arguments.add(query.vector, 'real[]')}::halfvec)"
        column = f"v.vector::halfvec({dimensions})" if dimensions else "v.vector"
        near = f"""
            select v.passage, -({column} <#> {vector}) as cosine from vectors v
            where v.agent = {agent} and v.space = {int(query.space)} and {allowed}
            order by {column} <#> {vector} limit {POOL}"""
        cosine = f"""
            (select -(v.vector <#> {vector}) from vectors v
             where v.passage = c.passage and v.space = {int(query.space)})"""
    return f"""
        with memory as materialized (
            select greatest(passages, 1)::float8 as n,
                (0.9 * greatest(passages, 1) / greatest(length, 1))::real as slope
            from memories where agent = {agent}),
        asked as materialized (
            select t.id, t.passages as n, sum(t.passages) over (order by t.passages, t.id) as reach,
                ln(1 + (m.n - t.passages + 0.5) / (t.passages + 0.5))::real as idf,
                t.term = any ({telling}) as telling
            from terms t, memory m where t.agent = {agent} and t.term = any ({words})),
        ideal as materialized (
            select coalesce(sum(a.idf), 0)
                + (cardinality({telling}) - count(a.id)) * ln(1 + (m.n + 0.5) / 0.5) as score
            from memory m left join asked a on a.telling group by m.n),
        spotted as materialized (
            select p.passage
            from memory m, asked a, lateral (
                select passage, count, length from postings p where p.term = a.id and {seen}
                order by passage desc limit {int(query.budget)}) p
            where a.reach <= {int(query.budget)} or a.reach = a.n
            group by p.passage
            order by sum(a.idf * p.count / (p.count + 0.3::real + m.slope * p.length)) desc
            limit {POOL}),
        near as materialized ({near}),
        scored as materialized (
            select c.passage, coalesce(c.cosine, {cosine}) as cosine,
                coalesce(l.every, 0)::float8 as lexical,
                coalesce(l.telling, 0)::float8 as telling
            from (select passage, n.cosine from spotted
                  full join near n using (passage)) c, lateral (
                select sum(score) as every, sum(score) filter (where x.telling) as telling
                from (select a.telling,
                        a.idf * p.count / (p.count + 0.3::real + m.slope * p.length) as score
                      from memory m, asked a
                      join postings p on p.term = a.id and p.passage = c.passage) x) l),
        {_fused(query, arguments)}
        """


def _fused(query: Query, arguments: _Arguments) -> str:
    """The end of the statement: the scores made one, and the passages that they belong to."""
    weight = arguments.add(query.weight, "float8")
    limit = arguments.add(query.limit, "int")
    return f"""
        best as (
            select nullif(max(lexical), 0) as lexical, nullif(greatest(max(cosine), 0), 0) as cosine
            from scored),
        fused as (
            select s.passage, s.cosine, s.telling, {weight} * x.vector + (1 - {weight}) * x.words
                as score
            from scored s, best b, lateral (
                select coalesce(s.lexical / b.lexical, 0) as words) w, lateral (
                -- A passage that waits for its vector is as near as its words let expect.
                select w.words,
                    coalesce(greatest(s.cosine, 0) / b.cosine, w.words) as vector) x
            order by score desc, s.passage desc limit {limit})
        select p.id, p.source, p.start, p.day, p.heading, p.parts, p.messages, p.events, p.room_id,
            f.score, f.cosine, f.telling / greatest(i.score, 1e-9) as covered
        from fused f join passages p on p.id = f.passage, ideal i
        order by f.score desc, p.id desc
        """
