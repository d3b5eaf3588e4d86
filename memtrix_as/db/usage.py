"""Usage: what each model call took in tokens and money, and what is left of a day's budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from memtrix_as.db.pool import Connection, Pool, clean
from memtrix_as.messages import Usage

Purpose = Literal["turn", "condense", "upkeep", "draft", "test"]
Measure = Literal["tokens", "cost"]
By = Literal["day", "agent", "model", "provider", "purpose"]


@dataclass(frozen=True, slots=True)
class Call:
    """A model call, whose it is and what it is for; `id` names it, before and after."""

    id: UUID
    agent: str
    room_id: str
    turn_id: int | None
    model: str
    provider: str
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What may be spent in a day; None where there is no limit. Costs are US dollars."""

    tokens: float | None = None
    cost: float | None = None
    agent_tokens: float | None = None
    agent_cost: float | None = None


@dataclass(frozen=True, slots=True)
class Today:
    """What was spent since midnight, in all and by one agent, and what calls in flight may take.

    `reserved` tells whether a call was let through that asked for this.
    """

    day: date
    ends_at: datetime
    tokens: int
    cost: float
    agent_tokens: int
    agent_cost: float
    reserved: bool = False


@dataclass(frozen=True, slots=True)
class Sum:
    """What calls took together; of the first fields those are set that it was grouped by."""

    day: date | None = None
    agent: str = ""
    model: str = ""
    provider: str = ""
    purpose: str = ""
    calls: int = 0
    failed: int = 0
    estimated: int = 0  # calls of which we only guess the tokens
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None  # None: none of the calls has a known cost


async def today(db: Connection | Pool, agent: str, zone: str) -> Today:
    """What was spent today."""
    row = await db.fetchrow("select * from memtrix_spent($1, $2, false)", zone, agent)
    return Today(**row)


async def reserve(pool: Pool, call: Call, guess: Usage, ceilings: Ceilings, zone: str) -> Today:
    """Ask for leave to make a call that will take about `guess`.

    It is given while less than each ceiling is spent, and `guess` counts as spent from then on,
    for those that ask next: until `record`, or `heal` if this process dies. One statement.
    """
    row = await pool.fetchrow(
        """
        with spent as materialized (select * from memtrix_spent($1, $3, true)),
        reserved as (
            insert into usage (id, agent, room_id, turn_id, model, provider, purpose,
                prompt_tokens, completion_tokens, cost, estimated)
            select $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::double precision::numeric, true
            from spent
            where tokens < coalesce($12::double precision, 'infinity')
              and cost < coalesce($13::double precision, 'infinity')
              and agent_tokens < coalesce($14::double precision, 'infinity')
              and agent_cost < coalesce($15::double precision, 'infinity')
            returning id)
        select spent.*, exists (select from reserved) as reserved from spent
        """,
        zone,
        *_columns(call, guess),
        ceilings.tokens,
        ceilings.cost,
        ceilings.agent_tokens,
        ceilings.agent_cost,
    )
    return Today(**row)


async def record(
    pool: Pool,
    call: Call,
    usage: Usage,
    *,
    seconds: float,
    estimated: bool = False,
    failed: bool = False,
) -> None:
    """Note what a call has taken that began so many seconds ago; twice is the same as once.

    It does not wait for the disk, lest the end of the turn wait for it; what that commits brings
    this to the disk as well.
    """
    await pool.execute(
        """
        with quick as materialized (select set_config('synchronous_commit', 'off', true))
        insert into usage (id, agent, room_id, turn_id, model, provider, purpose, prompt_tokens,
            completion_tokens, cost, estimated, failed, at, ended_at)
        select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10::double precision::numeric, $11, $12,
            now() - make_interval(secs => $13), now()
        from quick
        on conflict (id) do update set prompt_tokens = excluded.prompt_tokens,
            completion_tokens = excluded.completion_tokens, cost = excluded.cost,
            estimated = excluded.estimated, failed = excluded.failed,
            ended_at = excluded.ended_at
        """,
        *_columns(call, usage),
        estimated,
        failed,
        seconds,
    )


async def heal(pool: Pool) -> None:
    """Count calls of turns by what they took, where the process died before it had noted that.

    The answer was stored with its figures, and the guess of the reservation still stands. Calls of
    a turn come one after the other: the answer is what came before the next. It is no harm where
    somebody is about to note the same.
    """
    await pool.execute(
        """
        update usage u set prompt_tokens = m.prompt_tokens, cost = m.cost::numeric,
            completion_tokens = coalesce(m.completion_tokens, 0), ended_at = m.created_at
        from usage guess cross join lateral (
            select prompt_tokens, completion_tokens, cost, created_at from messages
            where turn_id = guess.turn_id and role = 'assistant' and prompt_tokens is not null
              and created_at >= guess.at order by id limit 1) m
        where u.id = guess.id and u.ended_at is null
          and guess.ended_at is null and guess.at > now() - interval '2 days'
          and not exists (select from usage later where later.turn_id = guess.turn_id
                          and later.at > guess.at and later.at <= m.created_at)
        """
    )


def _columns(call: Call, usage: Usage) -> tuple[object, ...]:
    return (
        call.id,
        call.agent,
        clean(call.room_id),
        call.turn_id,
        call.model,
        call.provider,
        call.purpose,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cost,
    )


async def first_notice(
    db: Connection | Pool, day: date, agent: str, measure: Measure, amount: float, level: int
) -> bool:
    """Whether nobody has told yet today that this limit is used up to `level` percent."""
    return bool(
        await db.fetchval(
            """
            insert into budget_notices (day, agent, measure, amount, level)
            values ($1, $2, $3, $4, $5) on conflict do nothing returning true
            """,
            day,
            agent,
            measure,
            amount,
            level,
        )
    )


_GROUPS: dict[By, str] = {
    "day": "(at at time zone $3)::date",
    "agent": "agent",
    "model": "model",
    "provider": "provider",
    "purpose": "purpose",
}


async def sums(
    db: Connection | Pool, since: date, until: date, zone: str, by: Sequence[By] = ()
) -> list[Sum]:
    """What was spent from the day `since` to the day before `until`, days being those of `zone`.

    One row for each combination of what it is grouped by, in that order; a single one without.
    """
    groups = "".join(f"{_GROUPS[name]} as {name}, " for name in by)
    order = ", ".join(map(str, range(1, len(by) + 1)))
    rows = await db.fetch(
        f"""
        select {groups} count(*) as calls, count(*) filter (where failed) as failed,
            count(*) filter (where estimated) as estimated,
            coalesce(sum(prompt_tokens), 0)::bigint as prompt_tokens,
            coalesce(sum(completion_tokens), 0)::bigint as completion_tokens,
            sum(cost)::double precision as cost
        from usage
        where at >= $1::date::timestamp at time zone $3 and at < $2::date::timestamp at time zone $3
        {f"group by {order} order by {order}" if by else ""}
        """,
        since,
        until,
        zone,
    )
    return [Sum(**row) for row in rows]
