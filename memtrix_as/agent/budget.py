"""Budgets: which limits a model call falls under, how much of them is used, and what is said."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from memtrix_as.config import Budget, Budgets, Price
from memtrix_as.db.usage import Ceilings, Measure, Today
from memtrix_as.messages import Usage

SHORT = 80  # percent, from which on it is told
SPENT = 100


@dataclass(frozen=True, slots=True)
class Limit:
    """What may be spent in a day; `key` sets it in config.yaml."""

    measure: Measure
    amount: float  # tokens, or US dollars
    agent: str  # empty: all agents together
    key: str

    def spent(self, today: Today) -> float:
        """What `today` says of it, asked for its agent."""
        if self.measure == "tokens":
            return today.agent_tokens if self.agent else today.tokens
        return today.agent_cost if self.agent else today.cost

    def share(self, spent: float) -> int:
        """Whole percent, rounded down; 100 exactly when it is used up."""
        percent = int(spent / self.amount * 100)
        return max(percent, SPENT) if spent >= self.amount else min(percent, SPENT - 1)

    def shown(self, amount: float) -> str:
        return f"{amount:,.0f} tokens" if self.measure == "tokens" else dollars(amount)

    @property
    def words(self) -> str:
        """Such as "100,000 tokens for all agents together"."""
        whose = "for this agent" if self.agent else "for all agents together"
        return f"{self.shown(self.amount)} {whose}"


def limits(budgets: Budgets, agent: str, name: str) -> tuple[Limit, ...]:
    """All limits that an agent's calls fall under; `agent` is its key, `name` its display name."""
    names = {key.strip().casefold(): key for key in budgets.agents}
    key = names.get(agent.casefold()) or names.get(name.strip().casefold())
    own = budgets.agents[key] if key else Budget()
    named, each = f"budgets.agents.{key}.", "budgets.agent_"
    found: list[tuple[Measure, float | None, str, str]] = [
        ("tokens", budgets.tokens_per_day, "", "budgets."),
        ("cost", budgets.cost_per_day, "", "budgets."),
    ]
    if agent:
        found += [
            ("tokens", own.tokens_per_day, agent, named)
            if own.tokens_per_day
            else ("tokens", budgets.agent_tokens_per_day, agent, each),
            ("cost", own.cost_per_day, agent, named)
            if own.cost_per_day
            else ("cost", budgets.agent_cost_per_day, agent, each),
        ]
    return tuple(
        Limit(measure, amount, whose, f"{where}{measure}_per_day")
        for measure, amount, whose, where in found
        if amount and amount != math.inf
    )


def strangers(budgets: Budgets, agents: Sequence[tuple[str, str]]) -> list[str]:
    """The names among `budgets.agents` that no agent goes by; `agents` are keys and names."""
    names = {name.strip().casefold() for agent in agents for name in agent}
    return [name for name in budgets.agents if name.strip().casefold() not in names]


def ceilings(limits: Sequence[Limit]) -> Ceilings:
    """The same limits as the database compares them."""
    amounts = {(each.measure, bool(each.agent)): each.amount for each in limits}
    return Ceilings(
        amounts.get(("tokens", False)),
        amounts.get(("cost", False)),
        amounts.get(("tokens", True)),
        amounts.get(("cost", True)),
    )


def reached(limits: Sequence[Limit], today: Today) -> Limit | None:
    """The limit that is used up, the most exceeded one of several; None if there is something left.

    The same comparison as `db.usage.reserve` makes.
    """
    spent = [each for each in limits if each.spent(today) >= each.amount]
    return max(spent, key=lambda each: each.spent(today) / each.amount, default=None)


def refusal(limit: Limit, spent: float, today: Today, zone: tzinfo) -> str:
    """The sentence for a room in which nothing is answered any more today."""
    return (
        f"Today's budget of {limit.words} is used up ({limit.shown(spent)} spent); "
        f"it begins anew at {_clock(today.ends_at, zone)}, "
        f"and a higher `{limit.key}` in config.yaml lifts it."
    )


def warning(limit: Limit, spent: float, today: Today, zone: tzinfo) -> str:
    """What is told when a limit is nearly used up, or was passed in one go."""
    if (percent := limit.share(spent)) >= SPENT:
        return refusal(limit, spent, today, zone)
    return (
        f"{percent}% of today's budget of {limit.words} is used up ({limit.shown(spent)} spent). "
        f"It begins anew at {_clock(today.ends_at, zone)}; once it is spent nothing is answered "
        f"before then, unless `{limit.key}` in config.yaml is raised."
    )


def cost(price: Price | None, usage: Usage) -> float | None:
    """US dollars by the price that is configured; None without one."""
    if price is None:
        return None
    return (usage.prompt_tokens * price.input + usage.completion_tokens * price.output) / 1e6


def dollars(amount: float) -> str:
    """Cents, and hundredths of them where there are hardly any."""
    return f"${amount:,.2f}" if amount >= 0.1 else f"${amount:.4f}".removesuffix("00")


def _clock(when: datetime, zone: tzinfo) -> str:
    return f"{when.astimezone(zone):%H:%M} ({zone})"
