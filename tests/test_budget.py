"""Budgets as pure decisions: which limits count, when they are used up, and what is said."""

import math
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from memtrix_as.agent import budget
from memtrix_as.agent.budget import Limit
from memtrix_as.config import Budget, Budgets, Price
from memtrix_as.db.usage import Today
from memtrix_as.messages import Usage

BERLIN = ZoneInfo("Europe/Berlin")
DAY = date(2026, 11, 25)
MIDNIGHT = datetime(2026, 11, 25, 23, tzinfo=UTC)  # in Berlin


def today(**spent: Any) -> Today:
    values = {"tokens": 0, "cost": 0.0, "agent_tokens": 0, "agent_cost": 0.0}
    return Today(DAY, MIDNIGHT, **{**values, **spent})


def keys(budgets: Budgets, agent: str = "dennis", name: str = "Dennis") -> dict[str, float]:
    return {each.key: each.amount for each in budget.limits(budgets, agent, name)}


def test_without_limits_there_is_nothing_to_check() -> None:
    assert not keys(Budgets())
    assert not keys(Budgets(tokens_per_day=math.inf, agents={"dennis": Budget(math.inf)}))


def test_each_limit_has_the_key_that_sets_it() -> None:
    budgets = Budgets(
        tokens_per_day=1000.0, cost_per_day=5.0, agent_tokens_per_day=100.0, agent_cost_per_day=1.0
    )
    assert keys(budgets) == {
        "budgets.tokens_per_day": 1000, "budgets.cost_per_day": 5,
        "budgets.agent_tokens_per_day": 100, "budgets.agent_cost_per_day": 1,
    }  # fmt: skip
    assert set(keys(budgets, "")) == {"budgets.tokens_per_day", "budgets.cost_per_day"}


def test_a_named_agent_has_its_own_and_else_what_all_have() -> None:
    own = {"Dennis": Budget(tokens_per_day=7.0), "rosa": Budget(cost_per_day=math.inf)}
    budgets = Budgets(agent_tokens_per_day=100.0, agent_cost_per_day=1.0, agents=own)
    assert keys(budgets, "dennis_2", " dennis ") == {
        "budgets.agents.Dennis.tokens_per_day": 7, "budgets.agent_cost_per_day": 1,
    }  # fmt: skip
    assert keys(budgets, "dennis", "Dr. D") == keys(budgets, "x", "DENNIS")
    assert keys(budgets, "rosa", "Rosa") == {"budgets.agent_tokens_per_day": 100}
    assert budget.strangers(budgets, [("dennis", "D"), ("memtrix", "Memtrix")]) == ["rosa"]


@given(
    amount=st.floats(0.0001, 1e15, allow_nan=False),
    spent=st.one_of(st.floats(0, 1e15), st.integers(0, 10**15)),
    agent=st.sampled_from(["", "dennis"]),
    measure=st.sampled_from(["tokens", "cost"]),
)
def test_it_is_refused_exactly_when_it_is_spent(
    amount: float, spent: float, agent: str, measure: Any
) -> None:
    limit = Limit(measure, amount, agent, "budgets.x")
    field = ("agent_" if agent else "") + measure
    now = today(**{field: spent})
    assert (budget.reached([limit], now) is limit) == (spent >= amount)
    assert (limit.share(spent) >= 100) == (spent >= amount)
    assert limit.share(spent) >= 0


def test_the_sentence_says_what_is_spent_until_when_and_the_way_out() -> None:
    limits = budget.limits(
        Budgets(tokens_per_day=100_000.0, agent_cost_per_day=0.5), "memtrix", "Memtrix"
    )
    now = today(tokens=102_345, agent_cost=0.5004)
    tokens, cost = limits
    assert budget.reached(limits, now) is tokens
    assert budget.refusal(tokens, 102_345, now, BERLIN) == (
        "Today's budget of 100,000 tokens for all agents together is used up (102,345 tokens "
        "spent); it begins anew at 00:00 (Europe/Berlin), and a higher `budgets.tokens_per_day` "
        "in config.yaml lifts it."
    )
    assert "$0.50 for this agent is used up ($0.50 spent)" in budget.refusal(
        cost, 0.5004, now, BERLIN
    )
    told = budget.warning(tokens, 83_999, now, BERLIN)
    assert told.startswith("83% of today's budget of 100,000 tokens for all agents together")
    assert "00:00" in told and "`budgets.tokens_per_day`" in told
    assert budget.warning(tokens, 100_000, now, BERLIN).startswith("Today's budget")


def test_prices_are_for_a_million_tokens() -> None:
    price = Price(input=0.15, output=0.60)
    assert budget.cost(price, Usage(1_000_000, 500_000)) == 0.45
    assert budget.cost(price, Usage()) == 0
    assert budget.cost(None, Usage(1, 1)) is None


def test_money_is_shown_as_far_as_there_is_some() -> None:
    shown = [budget.dollars(amount) for amount in (0, 0.00012, 0.06, 0.0999, 0.1, 12345.678)]
    assert shown == ["$0.00", "$0.0001", "$0.06", "$0.0999", "$0.10", "$12,345.68"]
