"""Sessions: what an agent and a room have said to each other since the last /clear."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from memtrix_as.db.pool import Connection, Pool, clean, to_json
from memtrix_as.db.queue import Lease, held
from memtrix_as.messages import Image, Message, ToolCall, Usage


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as it stands in a session; `tokens` is an estimate."""

    id: int
    turn_id: int | None
    tokens: int
    message: Message
    shared: bool = True  # all humans who are in the room now were there
    ended: bool = True  # the turn that it is of


@dataclass(frozen=True, slots=True)
class Session:
    """A session's newest messages, oldest first, and the summary of what stands before them."""

    id: int
    summary: str
    messages: tuple[Stored, ...]
    complete: bool  # nothing between summary and messages was left out
    outside: str = ""  # where text is from that the summary was made of, if from outside


@dataclass(frozen=True, slots=True)
class Status:
    """Figures of a session for /status."""

    messages: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None


MOST = 1000  # messages of a session that are looked at for one turn


LOAD = f"""
with present as materialized (
    select here.people, case when $4 or s.summary = '' then s.summary
        when exists (
            select from turns t where t.session_id = $1
              and not coalesce(t.people, array[t.sender]) @> here.people
              and exists (select from messages m
                          where m.turn_id = t.id and m.id <= s.condensed_to)) then ''
        else s.summary end as summary
    from sessions s, lateral (
        select array(select user_id from members where room_id = s.room_id
                     and user_id not in (select user_id from agents)) as people) here
    where s.id = $1),
newest as (
    select m.id, m.turn_id, m.tokens from sessions s join messages m on m.session_id = s.id
    where s.id = $1 and m.id > s.condensed_to order by m.id desc limit {MOST}),
fitting as (
    select id, count(*) over () as available,
        sum(tokens) over (order by id desc) <= $2
        or turn_id = case when $3 > 0 then $3
            else first_value(turn_id) over (order by id desc) end as fits
    from newest)
select id, m.turn_id, m.tokens, role, text, reasoning, nullif(calls, '[]') as calls,
    call_id, failed, outside,
    array(select path from attachments a where a.event_id = m.event_id and a.agent = (
              select agent from sessions where id = $1) and a.mimetype like 'image/%')
        as images,
    available, present.summary,
    (select o.outside from messages o join sessions s on s.id = o.session_id
     where o.session_id = $1 and o.outside <> '' and o.id <= s.condensed_to
     order by o.id limit 1) as before,
    coalesce((select t.ended_at is null
                  or coalesce(t.people, array[t.sender]) @> present.people
              from turns t where t.id = m.turn_id),
             (select i.people @> present.people
              from consultations c join inbox i on i.id = c.item_id where c.id = m.note),
             m.note is null) as shared,
    coalesce((select t.ended_at is not null from turns t where t.id = m.turn_id), true)
        as ended,
    m.note is not null as note,
    m.note is null and coalesce((select i.kind = 'message' and i.hops = 0
        from inbox i where i.id = m.turn_id), true) as human
from fitting join messages m using (id), present
where fits order by id
"""


async def load(
    pool: Pool, session_id: int, budget: int, turn_id: int = 0, *, whole: bool = False
) -> Session:
    """The session, its newest messages up to `budget` tokens (at least one turn's).

    As it is for the turn `turn_id`: its messages come last, and of other turns only what ended,
    each turn in one piece. Among agents several turns of a session may be under way.

    The summary is left out while somebody is present who was not there for all that it was made
    of; `whole` is for who makes the next one.
    """
    rows = await pool.fetch(LOAD, session_id, budget, turn_id, whole)
    stored = [
        Stored(row["id"], row["turn_id"], row["tokens"], _message(row), row["shared"], row["ended"])
        for row in rows
        # What was said stands in the room for whoever comes later; a note stands nowhere.
        if row["shared"] or not row["note"]
    ]
    return Session(
        session_id,
        rows[0]["summary"] if rows else "",
        tuple(in_order(stored, turn_id)),
        not rows or len(rows) == rows[0]["available"] < MOST,
        (rows[0]["before"] or "") if rows else "",
    )


def in_order(stored: Sequence[Stored], turn_id: int) -> list[Stored]:
    """The messages as the turn `turn_id` is to see them."""
    first: dict[int, int] = {}
    for s in stored:
        first.setdefault(s.turn_id or -s.id, s.id)
    seen = [s for s in stored if s.ended or s.turn_id == turn_id or not turn_id]
    return sorted(seen, key=lambda s: (s.turn_id == turn_id, first[s.turn_id or -s.id], s.id))


def _message(row: Any) -> Message:
    return Message(
        sys.intern(row["role"]),  # type: ignore[arg-type]  # one of four, in all messages
        row["text"],
        row["reasoning"],
        _calls(row["calls"]),
        row["call_id"],
        row["failed"],
        row["outside"],
        tuple(map(Image, row["images"])),
        row["human"],
    )


def _calls(calls: list[dict[str, Any]] | None) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(**call) for call in calls or ())


async def append(
    db: Connection | Pool,
    lease: Lease,
    session_id: int,
    turn_id: int,
    message: tuple[Message, int],
    *,
    model: str | None,
    usage: Usage,
) -> int | None:
    """Add a message (and its tokens) to a running turn; its id, None if it is not ours any more."""
    stored: int | None = await db.fetchval(
        f"""
        insert into messages (session_id, turn_id, role, text, reasoning, calls, call_id, failed,
            tokens, model, prompt_tokens, completion_tokens, cost, outside)
        select $1, $2, role, text, reasoning, calls::jsonb, call_id, failed, tokens, $10, $11, $12,
            $13, $16
        from unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::boolean[],
            $9::int[]) as m (role, text, reasoning, calls, call_id, failed, tokens)
        where exists (select from turns where id = $2 and state = 'running' for share)
          and {held("$14", "$15")}
        returning id
        """,
        session_id,
        turn_id,
        *columns([message]),
        model,
        usage.prompt_tokens if model else None,
        usage.completion_tokens if model else None,
        usage.cost,
        lease.job_id,
        lease.worker_id,
        clean(message[0].outside),
    )
    return stored


def columns(messages: Sequence[tuple[Message, int]]) -> tuple[list[Any], ...]:
    """Messages as the arrays that an insert takes."""
    return (
        [m.role for m, _ in messages],
        [clean(m.text) for m, _ in messages],
        [clean(m.reasoning) for m, _ in messages],
        # As text: asyncpg takes a list within a list for one more dimension of the array.
        [to_json([asdict(call) for call in m.calls]) for m, _ in messages],
        [m.call_id for m, _ in messages],
        [m.failed for m, _ in messages],
        [tokens for _, tokens in messages],
    )


async def clear(db: Connection | Pool, agent: str, room_id: str) -> int:
    """End the open session; returns how many messages it had."""
    return int(
        await db.fetchval(
            """
            with ended as (
                update sessions set ended_at = now()
                where agent = $1 and room_id = $2 and ended_at is null returning id)
            select count(*) from messages where session_id in (select id from ended)
            """,
            agent,
            room_id,
        )
    )


async def end(db: Connection | Pool, room_id: str) -> None:
    """End the open sessions of all agents in a room."""
    await db.execute(
        "update sessions set ended_at = now() where room_id = $1 and ended_at is null", room_id
    )


async def status(db: Connection | Pool, agent: str, room_id: str) -> Status:
    """Figures of the open session."""
    row = await db.fetchrow(
        """
        select count(*) as messages,
            coalesce(sum(tokens) filter (where m.id > s.condensed_to), 0)::int as tokens,
            coalesce(sum(prompt_tokens), 0)::int as prompt_tokens,
            coalesce(sum(completion_tokens), 0)::int as completion_tokens, sum(cost) as cost
        from messages m join sessions s on s.id = m.session_id
        where s.agent = $1 and s.room_id = $2 and s.ended_at is null
        """,
        agent,
        room_id,
    )
    return Status(**row)


async def condense(pool: Pool, session_id: int, summary: str, upto: int) -> bool:
    """Let `summary` stand for all messages up to the id `upto`; False where that came too late."""
    return bool(
        await pool.fetchval(
            """
            update sessions set summary = $2, condensed_to = $3
            where id = $1 and condensed_to < $3 and ended_at is null returning true
            """,
            session_id,
            clean(summary),
            upto,
        )
    )
