"""What was spent, as people read it."""

from datetime import UTC, date, datetime

from memtrix_as.agent import budget, spending
from memtrix_as.config import Budget, Budgets
from memtrix_as.db.usage import Sum, Today

NAMES = {"memtrix": "Memtrix", "dennis": "Dennis | the cook"}
SPENT = [
    Sum(agent="dennis", model="big", calls=2, failed=1, prompt_tokens=1000, completion_tokens=50,
        cost=0.25),
    Sum(agent="gone", model="local", calls=1, estimated=1, prompt_tokens=10, completion_tokens=5),
]  # fmt: skip


def test_a_table_by_agent_and_model_with_a_total() -> None:
    lines = spending.table(SPENT, NAMES).splitlines()
    assert lines[2:5] == [
        "| Dennis \\| the cook | big | 2 (1 failed) | 1,000 / 50 | $0.25 |",
        "| gone | local | 1 | 10 / 5 | - |",
        "| **in all** |  | 3 (1 failed) | 1,010 / 55 | $0.25 |",
    ]
    assert "1 call are an estimate" in lines[6] and "neither the provider" in lines[8]
    assert "in all" not in spending.table(SPENT[:1], NAMES)


def test_the_share_of_each_limit() -> None:
    budgets = Budgets(
        tokens_per_day=2130.0, agent_cost_per_day=1.0, agents={"dennis": Budget(cost_per_day=0.5)}
    )
    assert spending.shares(budgets, SPENT, NAMES) == [
        "- 50% of today's 2,130 tokens for all agents together (`budgets.tokens_per_day`)",
        "- 0% of today's $1.00 for this agent (`budgets.agent_cost_per_day`): Memtrix",
        "- 50% of today's $0.50 for this agent (`budgets.agents.dennis.cost_per_day`): "
        "Dennis \\| the cook",
    ]


def test_a_period_ends_with_today() -> None:
    today = date(2026, 3, 1)
    assert spending.span("day", today) == (today, date(2026, 3, 2))
    assert spending.span("week", today) == (date(2026, 2, 23), date(2026, 3, 2))
    assert spending.span("month", today) == (date(2026, 1, 31), date(2026, 3, 2))


def test_today_for_status() -> None:
    now = Today(date(2026, 3, 1), datetime(2026, 3, 2, tzinfo=UTC), 900, 0.0, 300, 0.0)
    assert spending.today((), now) == [("today", "300 tokens")]
    limits = budget.limits(Budgets(tokens_per_day=1000.0), "dennis", "Dennis")
    assert spending.today(limits, now)[1] == (
        "budget", "90% of today's 1,000 tokens for all agents together (`budgets.tokens_per_day`)"
    )  # fmt: skip
