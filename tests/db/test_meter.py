"""The meter: every call is noted, whatever becomes of it, and none is made beyond a budget."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from memtrix_as import config
from memtrix_as.agent import spending
from memtrix_as.agent.means import Account
from memtrix_as.agent.meter import ANSWER, Meter
from memtrix_as.config import Budgets, Config, Price
from memtrix_as.db import agents
from memtrix_as.db.agents import Agent
from memtrix_as.db.pool import Pool, connect
from memtrix_as.errors import BudgetSpent, ModelBroken, ModelError, ModelRefused, ModelTimeout
from memtrix_as.measures import Measures
from memtrix_as.messages import Delta, Message, Place, Reply, Usage
from memtrix_as.providers.base import BaseProvider, Request
from memtrix_as.providers.catalog import Model, Models
from tests.rig.database import Database
from tests.rig.settings import settings, tokens, write
from tests.rig.waiting import eventually

HELLO = [Message("user", "hello" * 80)]  # 106 tokens, by our estimate
PLACE = Place("!room", "memtrix")
LANE = "memtrix !room"


class Said(BaseProvider):
    """Yields what it was given; raises what is an error; waits at an event."""

    type: ClassVar[str] = "said"
    bills: ClassVar[bool] = False

    def __init__(self, *pieces: Any) -> None:
        self.pieces = list(pieces)
        self.asked = 0

    async def stream(self, request: Request) -> AsyncIterator[Delta | Reply]:
        self.asked += 1
        for piece in self.pieces:
            if isinstance(piece, ModelError):
                raise piece
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                yield piece

    async def models(self) -> list[str]:
        return []


class Bills(Said):
    type: ClassVar[str] = "bills"
    bills: ClassVar[bool] = True


class Mouth:
    """The chat: notes what is to be delivered."""

    def __init__(self) -> None:
        self.posted: list[str] = []

    def post(self, lane: str) -> None:
        self.posted.append(lane)


def reply(prompt: int = 0, completion: int = 0, cost: float | None = None) -> Reply:
    return Reply(Message("assistant", "Hello, human." * 8), Usage(prompt, completion, cost))


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await connect(database.dsn)
    await agents.keep_main(
        pool, Agent("memtrix", "@memtrix:hs", "Memtrix", True, "m", False, False)
    )
    yield pool
    await pool.close()


@pytest.fixture
def settled(tmp_path: Path) -> Config:
    return config.load(
        write(tmp_path / "c.yaml", settings(tokens("memtrix"), "http://a", 1, "embedded"))
    )


Metered = Callable[..., Meter]


@pytest.fixture
async def metered(pool: Pool, settled: Config) -> AsyncGenerator[Metered]:
    made: list[Meter] = []

    def build(provider: Said, price: Price | None = None, **budgets: Any) -> Meter:
        section = config.Model("cloud", "big", price=price)
        models = Models({"m": Model("m", section, provider)})
        full = replace(settled, budgets=Budgets(**budgets))
        made.append(Meter(models, pool, Mouth(), full, Measures()))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for meter in made:
        await meter.close()


def account(agent: str = "memtrix", purpose: Any = "turn") -> Account:
    return Account(replace(PLACE, agent=agent), agent.title(), purpose, LANE, 7)


async def ask(meter: Meter, who: Account | None = None) -> list[Delta | Reply]:
    stream = meter.get("m", who or account()).stream(HELLO, [], timeout=5)
    return [piece async for piece in stream]


async def rows(pool: Pool, meter: Meter) -> list[tuple[Any, ...]]:
    """Tokens in and out, cost, estimated, failed of each call, in order."""
    await meter.close()
    found = await pool.fetch("select * from usage order by at, ended_at")
    return [
        (r["prompt_tokens"], r["completion_tokens"],
         None if r["cost"] is None else float(r["cost"]), r["estimated"], r["failed"])
        for r in found
    ]  # fmt: skip


async def notices(pool: Pool) -> list[str]:
    return [r["text"] for r in await pool.fetch("select text from outbox order by id")]


async def test_the_providers_own_figures_count(pool: Pool, metered: Metered) -> None:
    meter = metered(Bills(reply(50, 7, 0.02)), Price(1000, 1000))
    (got,) = await ask(meter)
    assert isinstance(got, Reply) and got.usage == Usage(50, 7, 0.02)
    assert await rows(pool, meter) == [(50, 7, 0.02, False, False)]
    (row,) = await pool.fetch("select * from usage")
    assert (row["agent"], row["room_id"], row["turn_id"]) == ("memtrix", "!room", 7)
    assert (row["model"], row["provider"], row["purpose"]) == ("m", "cloud", "turn")


async def test_a_price_makes_the_cost_where_none_is_told(pool: Pool, metered: Metered) -> None:
    meter = metered(Said(reply(1_000_000, 500_000)), Price(0.15, 0.60))
    (got,) = await ask(meter)
    assert isinstance(got, Reply) and got.usage.cost == 0.45, "messages and /status have it too"
    assert await rows(pool, meter) == [(1_000_000, 500_000, 0.45, False, False)]


async def test_without_figures_the_tokens_are_estimated(pool: Pool, metered: Metered) -> None:
    meter = metered(Said(Delta("Hello"), reply()), Price(1_000_000, 0))
    await ask(meter)
    assert await rows(pool, meter) == [(106, 32, 106.0, True, False)]


@pytest.mark.parametrize("end", [ModelBroken("cut"), ModelTimeout("late")])
async def test_of_a_cut_stream_what_was_seen_counts(
    pool: Pool, metered: Metered, end: ModelError
) -> None:
    meter = metered(Said(Delta("x" * 40), Delta("", "y" * 40), end), Price(0, 1_000_000))
    with pytest.raises(type(end)):
        await ask(meter)
    assert await rows(pool, meter) == [(106, 20, 20.0, True, True)]


async def test_a_call_that_was_refused_took_nothing(pool: Pool, metered: Metered) -> None:
    meter = metered(Said(ModelRefused("no")), tokens_per_day=1000.0)
    for _ in range(3):
        with pytest.raises(ModelRefused):
            await ask(meter)
    assert await rows(pool, meter) == [(0, 0, None, False, True)] * 3


async def test_a_failure_that_tells_its_figures(pool: Pool, metered: Metered) -> None:
    error = ModelBroken("empty")
    error.prompt_tokens, error.completion_tokens, error.cost = 20, 1800, 0.5
    meter = metered(Bills(error))
    with pytest.raises(ModelBroken):
        await ask(meter)
    assert await rows(pool, meter) == [(20, 1800, 0.5, False, True)]


@pytest.mark.parametrize("limit", [None, 10_000.0])
async def test_a_call_that_is_cancelled_or_left(
    pool: Pool, metered: Metered, limit: float | None
) -> None:
    meter = metered(Said(Delta("x" * 40), asyncio.Event()), tokens_per_day=limit)
    task = asyncio.create_task(ask(meter))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with aclosing(meter.get("m", account()).stream(HELLO, [], timeout=5)) as stream:  # type: ignore[type-var]
        async for _ in stream:
            break
    assert await rows(pool, meter) == [(106, 10, None, True, True)] * 2


async def test_a_call_in_flight_counts_as_it_was_reserved(pool: Pool, metered: Metered) -> None:
    gate = asyncio.Event()
    provider = Said(gate, reply(100, 50))
    meter = metered(provider, tokens_per_day=1200.0)
    first, second = (asyncio.create_task(ask(meter)) for _ in range(2))
    await eventually(lambda: _both(provider), "both calls")
    found = await pool.fetch("select * from usage")
    assert [r["prompt_tokens"] + r["completion_tokens"] for r in found] == [106 + ANSWER] * 2
    with pytest.raises(BudgetSpent):
        await ask(meter)
    gate.set()
    await asyncio.gather(first, second)
    await ask(meter)  # it took less than was thought
    assert await rows(pool, meter) == [(100, 50, None, False, False)] * 3


async def _both(provider: Said) -> bool:
    return provider.asked == 2


async def test_many_at_once_overshoot_by_one_answer_at_most(pool: Pool, metered: Metered) -> None:
    provider = Said(reply(106, ANSWER))
    meter = metered(provider, tokens_per_day=10_000.0)
    got = await asyncio.gather(*(ask(meter) for _ in range(60)), return_exceptions=True)
    refused = [each for each in got if isinstance(each, BudgetSpent)]
    spent = sum(row[0] + row[1] for row in await rows(pool, meter))
    assert len(refused) == 60 - provider.asked and 10_000 <= spent < 10_000 + 106 + ANSWER


async def test_a_spent_budget_refuses_by_name_and_asks_nobody(pool: Pool, metered: Metered) -> None:
    provider = Said(reply(1000, 0))
    meter = metered(provider, agent_tokens_per_day=1000.0, agents={
        "Dennis": config.Budget(tokens_per_day=500.0)
    })  # fmt: skip
    await ask(meter)
    with pytest.raises(BudgetSpent, match=r"`budgets\.agent_tokens_per_day` in config.yaml"):
        await ask(meter, account(purpose="condense"))
    await ask(meter, account("dennis"))
    with pytest.raises(BudgetSpent, match=r"500 tokens .*`budgets\.agents\.Dennis\.tokens_per"):
        await ask(meter, account("dennis", "upkeep"))
    assert provider.asked == 2


@pytest.mark.parametrize(
    ("kind", "price", "refused"),
    [
        (Said, None, False),  # such as Ollama: nobody knows of a cost
        (Said, Price(0, 0), False),
        (Said, Price(1, 1), True),
        (Bills, None, True),
        (Bills, Price(0, 0), False),
    ],
)
async def test_money_limits_only_what_costs(
    pool: Pool, metered: Metered, kind: type[Said], price: Price | None, refused: bool
) -> None:
    other = metered(Bills(reply(1, 1, 5.0)), cost_per_day=5.0)
    await ask(other)
    await other.close()
    meter = metered(kind(reply(1, 1)), price, cost_per_day=5.0)
    if refused:
        with pytest.raises(BudgetSpent, match=r"\$5\.00 for all agents together is used up"):
            await ask(meter)
    else:
        await ask(meter)


async def test_what_a_model_cost_last_is_what_the_next_call_reserves(
    pool: Pool, metered: Metered
) -> None:
    meter = metered(provider := Bills(reply(900, 100, 1.0)), cost_per_day=100.0)
    await ask(meter)
    provider.pieces = [Delta("x" * 40), ModelBroken("cut")]
    with pytest.raises(ModelBroken):
        await ask(meter)
    assert (await rows(pool, meter))[1] == (106, 10, 0.116, True, True)


async def test_at_four_fifths_it_is_told_once_whoever_sees_it(pool: Pool, metered: Metered) -> None:
    meter = metered(Said(reply(100, 0)), tokens_per_day=1000.0)
    for _ in range(7):
        await ask(meter)
    await meter.close()
    assert not await notices(pool)
    await ask(meter)
    await meter.close()
    (told,) = await notices(pool)
    assert told.startswith("80% of today's budget of 1,000 tokens") and "(800 tokens" in told
    assert meter._chat.posted == [LANE]  # type: ignore[attr-defined]
    again = metered(Said(reply(100, 0)), tokens_per_day=1000.0)  # a restart
    for each in (meter, again):
        await ask(each)
        await each.close()
    assert len(await notices(pool)) == 1
    (row,) = await pool.fetch("select * from outbox")
    assert (row["kind"], row["thread"], row["lane"]) == ("notice", None, LANE)
    other = metered(Said(reply(100, 0)), tokens_per_day=1200.0)
    await ask(other)
    await other.close()
    assert len(await notices(pool)) == 2, "another limit"


async def test_what_is_on_its_way_into_the_books_is_waited_for(
    pool: Pool, metered: Metered
) -> None:
    meter = metered(Said(reply(100, 0)), tokens_per_day=1000.0)
    async with pool.acquire() as other, other.transaction():
        await other.execute("lock table usage in share mode")  # nothing can be noted
        flight = meter.get("m", account())._flight()  # type: ignore[attr-defined]
        meter.record(flight, Usage(7, 0), estimated=False, outcome="ok")
        await meter.settle(0.1)  # it comes back all the same
        assert await other.fetchval("select count(*) from usage") == 0
    await meter.settle(30.0)
    assert await pool.fetchval("select prompt_tokens from usage") == 7


async def test_operators_hear_of_both_and_the_room_of_the_first(
    pool: Pool, metered: Metered, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "memtrix_as.db.operators")
    meter = metered(Said(reply(500, 400)), agent_tokens_per_day=1000.0)
    for _ in range(2):
        await ask(meter)
    for _ in range(2):
        with pytest.raises(BudgetSpent) as caught:
            await ask(meter)
    await meter.close()
    (told,) = await notices(pool)
    heard = [r.getMessage() for r in caplog.records]
    assert heard == [f"Memtrix: {told}", f"Memtrix: {caught.value}"]


async def test_one_big_call_is_told_once(
    pool: Pool, metered: Metered, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "memtrix_as.db.operators")
    meter = metered(Said(reply(2000, 0)), tokens_per_day=1000.0)
    await ask(meter)
    await meter.close()
    with pytest.raises(BudgetSpent):
        await ask(meter)
    await meter.close()
    (told,) = await notices(pool)
    assert told.startswith("Today's budget of 1,000 tokens for all agents together is used up (2,")
    assert [r.getMessage() for r in caplog.records] == [told]


async def test_the_report_of_operators(pool: Pool, metered: Metered, settled: Config) -> None:
    meter = metered(Bills(reply(1000, 50, 0.5)))
    for agent in ("memtrix", "gone"):
        await ask(meter, account(agent))
    await meter.close()
    await pool.execute("update usage set at = at - interval '3 days' where agent = 'gone'")
    limited = replace(settled, budgets=Budgets(cost_per_day=5.0))
    text = await spending.report(pool, limited)
    assert "| Memtrix | m | 1 | 1,000 / 50 | $0.50 |" in text and "gone" not in text
    assert "- 10% of today's $5.00 for all agents together (`budgets.cost_per_day`)" in text
    week = await spending.report(pool, limited, "week")
    assert "| gone | m | 1 |" in week and "| **in all** |  | 2 | 2,000 / 100 | $1.00 |" in week
    assert "- 10% of today's" in week
    await pool.execute("delete from usage")
    assert "No model was asked." in await spending.report(pool, settled, "month")


async def test_at_the_start_it_says_what_of_the_budgets_is_in_vain(
    metered: Metered, caplog: pytest.LogCaptureFixture
) -> None:
    agents_ = {"denis": config.Budget(), "Memtrix": config.Budget(cost_per_day=1.0)}
    await metered(Said(), agents=agents_).check()
    assert [r.getMessage() for r in caplog.records] == [
        "budgets.agents.denis: there is no agent of this name yet",
        "models.m.price: is not set, so what it costs counts for no budget",
    ]
    caplog.clear()
    await metered(Bills(), cost_per_day=1.0).check()
    await metered(Said(), Price(0, 0), cost_per_day=1.0).check()
    assert not caplog.records
