"""What calls took: noted once, summed by days of the time zone, and never spent twice."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memtrix_as.db import pruning, usage
from memtrix_as.db.pool import Pool, connect
from memtrix_as.db.usage import Call, Ceilings, Sum
from memtrix_as.messages import Usage
from tests.rig.database import Database

ZONE = "Europe/Berlin"
NONE = Ceilings()


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await connect(database.dsn)
    yield pool
    await pool.close()


def call(agent: str = "memtrix", **more: Any) -> Call:
    values: dict[str, Any] = {"model": "m", "provider": "p", "purpose": "turn", **more}
    return Call(uuid4(), agent, "!room", None, **values)


async def spend(pool: Pool, took: Usage, agent: str = "memtrix", **more: Any) -> None:
    await usage.record(pool, call(agent, **more), took, seconds=0.0)


async def spend_at(pool: Pool, at: datetime, took: Usage = Usage(1, 0)) -> None:  # noqa: B008
    made = call()
    await usage.record(pool, made, took, seconds=0.0)
    await pool.execute("update usage set at = $2 where id = $1", made.id, at)


async def test_a_call_is_noted_once_however_often(pool: Pool) -> None:
    made = call(purpose="upkeep")
    await usage.reserve(pool, made, Usage(100, 500, 0.1), NONE, ZONE)
    (reserved,) = await pool.fetch("select * from usage")
    assert reserved["estimated"] and reserved["ended_at"] is None
    for _ in range(2):
        await usage.record(pool, made, Usage(90, 7, 0.02), seconds=3.0)
    (row,) = await pool.fetch("select * from usage")
    assert (row["prompt_tokens"], row["completion_tokens"], float(row["cost"])) == (90, 7, 0.02)
    assert row["at"] == reserved["at"] and row["ended_at"] and not row["estimated"]
    assert (row["agent"], row["room_id"], row["purpose"]) == ("memtrix", "!room", "upkeep")


async def test_a_call_counts_for_the_moment_when_it_was_asked(pool: Pool) -> None:
    await usage.record(pool, call(), Usage(1, 1), seconds=90.0, failed=True)
    (row,) = await pool.fetch("select *, ended_at - at as lasted from usage")
    assert row["lasted"] == timedelta(seconds=90) and row["failed"]


async def test_cents_add_up_exactly(pool: Pool) -> None:
    for _ in range(10):
        await spend(pool, Usage(1, 0, 0.1))
    today = await usage.today(pool, "memtrix", ZONE)
    assert today.cost == 1.0 == today.agent_cost, "0.1 ten times, which floats do not make 1"
    ceilings = Ceilings(cost=1.0)
    assert not (await usage.reserve(pool, call(), Usage(), ceilings, ZONE)).reserved


@pytest.mark.parametrize("ceiling", ["tokens", "cost", "agent_tokens", "agent_cost"])
async def test_each_ceiling_refuses_and_spares_the_others(pool: Pool, ceiling: str) -> None:
    await spend(pool, Usage(4, 6, 10.0))
    for amount, reserved in ((10.0, False), (10.1, True)):
        ceilings = Ceilings(**{ceiling: amount})
        today = await usage.reserve(pool, call("memtrix"), Usage(), ceilings, ZONE)
        assert today.reserved == reserved, amount
    other = await usage.reserve(pool, call("dennis"), Usage(), Ceilings(**{ceiling: 10.0}), ZONE)
    assert other.reserved == ceiling.startswith("agent_")
    assert (other.tokens, other.agent_tokens) == (10, 0)


async def test_what_is_refused_leaves_no_row(pool: Pool) -> None:
    await spend(pool, Usage(10, 0))
    await usage.reserve(pool, call(), Usage(5, 5), Ceilings(tokens=10.0), ZONE)
    assert len(await pool.fetch("select * from usage")) == 1


async def test_twenty_at_once_get_what_is_left_and_no_more(pool: Pool) -> None:
    await spend(pool, Usage(990, 0))
    asked = [
        usage.reserve(pool, call(f"a{n}"), Usage(5, 0), Ceilings(tokens=1000.0), ZONE)
        for n in range(20)
    ]
    got = await asyncio.gather(*asked)
    assert sum(each.reserved for each in got) == 2, "990, 995, and at 1000 there is no more"


async def test_a_call_whose_process_died_counts_as_it_was_reserved(pool: Pool) -> None:
    await usage.reserve(pool, call(), Usage(300, 500, 0.2), Ceilings(tokens=1000.0), ZONE)
    today = await usage.today(pool, "memtrix", ZONE)
    assert (today.tokens, today.cost) == (800, 0.2)
    (spent,) = await usage.sums(pool, today.day, today.day + timedelta(days=1), ZONE)
    assert (spent.calls, spent.estimated, spent.prompt_tokens) == (1, 1, 300)


async def test_a_day_is_that_of_the_time_zone(pool: Pool) -> None:
    """The 29th of March 2026 has 23 hours in Berlin: from 23:00 to 22:00 UTC."""
    begin = datetime(2026, 3, 28, 23, tzinfo=UTC)
    for minutes in (-1, 0, 23 * 60 - 1, 23 * 60):
        await spend_at(pool, begin + timedelta(minutes=minutes))
    days = await usage.sums(pool, date(2026, 3, 1), date(2026, 4, 1), ZONE, ["day"])
    assert [(each.day, each.calls) for each in days] == [
        (date(2026, 3, 28), 1), (date(2026, 3, 29), 2), (date(2026, 3, 30), 1),
    ]  # fmt: skip
    (one,) = await usage.sums(pool, date(2026, 3, 29), date(2026, 3, 30), ZONE)
    assert one == Sum(calls=2, prompt_tokens=2)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Europe/Berlin", "Pacific/Pago_Pago"])
async def test_the_next_day_begins_anew(pool: Pool, zone: str) -> None:
    midnight = datetime.now(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    await spend_at(pool, midnight - timedelta(seconds=1), Usage(1000, 0))
    ceilings = Ceilings(tokens=1000.0)
    fresh = await usage.reserve(pool, call(), Usage(), ceilings, zone)
    assert fresh.reserved and fresh.tokens == 0 and fresh.day == midnight.date()
    assert fresh.ends_at > datetime.now(UTC) >= fresh.ends_at - timedelta(hours=26)
    await spend_at(pool, midnight, Usage(1000, 0))
    assert not (await usage.reserve(pool, call(), Usage(), ceilings, zone)).reserved


async def test_sums_are_grouped_by_what_is_asked_for(pool: Pool) -> None:
    await spend(pool, Usage(10, 1, 0.5), "dennis", model="big")
    await spend(pool, Usage(20, 2), "dennis", model="small", purpose="upkeep")
    await spend(pool, Usage(30, 3), model="small")
    today = (await usage.today(pool, "", ZONE)).day
    days = today, today + timedelta(days=1), ZONE
    assert [
        (s.agent, s.model, s.calls, s.prompt_tokens, s.completion_tokens, s.cost)
        for s in await usage.sums(pool, *days, ["agent", "model"])
    ] == [
        ("dennis", "big", 1, 10, 1, 0.5), ("dennis", "small", 1, 20, 2, None),
        ("memtrix", "small", 1, 30, 3, None),
    ]  # fmt: skip
    by_purpose = await usage.sums(pool, *days, ["purpose", "day"])
    assert [(s.purpose, s.day, s.calls) for s in by_purpose] == [
        ("turn", today, 2), ("upkeep", today, 1),
    ]  # fmt: skip
    assert await usage.sums(pool, *days) == [
        Sum(calls=3, prompt_tokens=60, completion_tokens=6, cost=0.5)
    ]
    assert await usage.sums(pool, today - timedelta(days=1), today, ZONE, ["agent"]) == []
    assert (await usage.sums(pool, today - timedelta(days=1), today, ZONE))[0] == Sum()


async def test_one_of_many_is_the_first_to_notice(pool: Pool) -> None:
    day = date(2026, 11, 25)
    first = await asyncio.gather(
        *(usage.first_notice(pool, day, "", "tokens", 100.0, 80) for _ in range(20))
    )
    assert sum(first) == 1
    others = [
        (day + timedelta(days=1), "", "tokens", 100.0, 80), (day, "dennis", "tokens", 100.0, 80),
        (day, "", "cost", 100.0, 80), (day, "", "tokens", 200.0, 80),
        (day, "", "tokens", 100.0, 100),
    ]  # fmt: skip
    for other in others:
        assert await usage.first_notice(pool, *other), "another limit, level or day"  # type: ignore[arg-type]


TOKENS = st.integers(0, 1000)
STEPS = st.tuples(
    st.sampled_from(["ann", "ben"]), TOKENS, TOKENS, st.none() | st.decimals(0, 5, places=4),
    st.sampled_from(["finished", "died", "cheap"]),
)  # fmt: skip


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(STEPS, max_size=12),
    tokens=st.none() | st.integers(1, 6000),
    cost=st.none() | st.decimals("0.01", 10, places=2),
    agent_tokens=st.none() | st.integers(1, 3000),
)
async def test_a_call_is_refused_exactly_when_a_limit_is_spent(
    pool: Pool, steps: list[Any], tokens: Any, cost: Any, agent_tokens: Any
) -> None:
    await pool.execute("delete from usage")
    ceilings = Ceilings(tokens, float(cost) if cost else None, agent_tokens)
    spent: list[tuple[str, int, Any]] = []
    for agent, asked, answered, price, end in steps:
        made, guess = call(agent), Usage(asked, answered, None if price is None else float(price))
        today = await usage.reserve(pool, made, guess, ceilings, ZONE)
        own = [each for each in spent if each[0] == agent]
        assert today.tokens == sum(each[1] for each in spent) >= 0
        assert today.agent_tokens == sum(each[1] for each in own) >= 0
        assert today.cost == float(sum(each[2] for each in spent)) >= 0
        full = (
            (tokens is not None and today.tokens >= tokens)
            or (cost is not None and sum(each[2] for each in spent) >= cost)
            or (agent_tokens is not None and today.agent_tokens >= agent_tokens)
        )
        assert today.reserved != full
        if full:
            continue
        if end == "cheap":
            await usage.record(pool, made, Usage(1, 0), seconds=0.0)
            spent.append((agent, 1, 0))
        else:
            if end == "finished":
                await usage.record(pool, made, guess, seconds=0.0)
            spent.append((agent, asked + answered, price or 0))


async def test_of_a_process_that_died_right_after_the_answer_what_it_took_counts(
    pool: Pool,
) -> None:
    """The answer is stored with its figures in the commit that ends the turn; then comes a kill."""
    turn_id = await pool.fetchval(
        """
        with agent as (
            insert into agents (name, user_id, display_name, model, main)
            values ('memtrix', '@memtrix:hs', 'Memtrix', 'm', true) returning name),
        item as (
            insert into inbox (lane, kind, room_id, agent, payload)
            values ('l', 'message', '!room', 'memtrix', '{}') returning id),
        session as (
            insert into sessions (agent, room_id) select name, '!room' from agent returning id)
        insert into turns (id, session_id, event_id, sender)
        select item.id, session.id, '$', '@ann:hs' from item, session returning id
        """
    )

    async def asks() -> UUID:
        made = replace(call(), turn_id=turn_id)
        await usage.reserve(pool, made, Usage(7000, 500, 0.5), NONE, ZONE)
        return made.id

    async def answers(tokens: int) -> None:
        await pool.execute(
            """
            insert into messages (session_id, turn_id, role, prompt_tokens, completion_tokens, cost)
            select session_id, id, 'assistant', $2, 1, 0.1 from turns where id = $1
            """,
            turn_id,
            tokens,
        )

    cut = await asks()  # and its process died before the answer
    first = await asks()
    await answers(10)
    second = await asks()
    await answers(20)
    flying = await asks()
    for _ in range(2):
        await usage.heal(pool)
    rows = {row["id"]: row for row in await pool.fetch("select * from usage")}
    took = [rows[each]["prompt_tokens"] for each in (cut, first, second, flying)]
    assert took == [7000, 10, 20, 7000]
    assert [float(rows[each]["cost"]) for each in (first, flying)] == [0.1, 0.5]
    assert rows[first]["ended_at"] and rows[second]["ended_at"]
    assert rows[cut]["ended_at"] is None is rows[flying]["ended_at"]


async def test_the_sums_are_those_of_the_rows_whatever_happens_at_once(pool: Pool) -> None:
    zone, agents = "Asia/Kathmandu", [f"a{n}" for n in range(5)]
    made = [call(agents[n % 5]) for n in range(60)]
    guess, limits = Usage(7, 3, 0.1), Ceilings(tokens=1e9)
    await asyncio.gather(*(usage.reserve(pool, each, guess, limits, zone) for each in made))
    await asyncio.gather(
        *(usage.record(pool, each, Usage(n, 1, 0.3), seconds=0.0) for n, each in enumerate(made)),
        *(spend(pool, Usage(100, 0, 0.7), agents[n % 5]) for n in range(40)),
        pool.execute("delete from usage where id = $1", made[0].id),
    )
    await pool.execute("update usage set at = at - interval '1 day' where id = $1", made[1].id)
    rows = await pool.fetch("select * from usage where id <> $1", made[1].id)
    for agent in agents:
        today = await usage.today(pool, agent, zone)
        own = [row for row in rows if row["agent"] == agent]
        for of, tokens, cost in (
            (rows, today.tokens, today.cost), (own, today.agent_tokens, today.agent_cost),
        ):  # fmt: skip
            assert tokens == sum(row["prompt_tokens"] + row["completion_tokens"] for row in of)
            assert cost == float(sum(row["cost"] for row in of))


async def test_what_was_spent_before_the_last_days_has_no_sum(pool: Pool) -> None:
    await spend(pool, Usage(10, 0))
    await spend_at(pool, datetime.now(UTC) - timedelta(days=100), Usage(5, 0))
    for table, age in pruning.ages().items():
        await pruning.prune(pool, table, age)
    left = await pool.fetch("select agent, tokens::int from usage_sums where tokens <> 0")
    assert sorted(map(tuple, left)) == [("*", 10), ("memtrix", 10)]
    assert len(await pool.fetch("select from usage")) == 1
