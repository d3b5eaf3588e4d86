"""What was spent, as people read it: by agent and model, in all, and as a share of the budgets."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Literal

from memtrix_as.agent import budget
from memtrix_as.agent.budget import Limit
from memtrix_as.config import Budgets, Config
from memtrix_as.db import agents, usage
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.db.usage import Sum, Today

Period = Literal["day", "week", "month"]
DAYS: Mapping[Period, int] = {"day": 1, "week": 7, "month": 30}


async def report(db: Connection | Pool, config: Config, period: Period = "day") -> str:
    """What was spent in a period that ends with today, in markdown."""
    zone = str(config.timezone)
    today = datetime.now(config.timezone).date()
    since, tomorrow = span(period, today)
    spent = await usage.sums(db, since, tomorrow, zone, ("agent", "model"))
    by_agent = await usage.sums(db, today, tomorrow, zone, ("agent",))
    everyone = await agents.load(db)
    names = {each.name: each.display_name for each in everyone}
    return "\n\n".join(
        (
            f"**Usage {_days(since, today)}** ({zone})",
            table(spent, names) if spent else "No model was asked.",
            *filter(None, ["\n".join(shares(config.budgets, by_agent, names))]),
        )
    )


def span(period: Period, today: date) -> tuple[date, date]:
    """The first day of a period that ends with today, and the day after it."""
    tomorrow = today + timedelta(days=1)
    return tomorrow - timedelta(days=DAYS[period]), tomorrow


def table(spent: Sequence[Sum], names: Mapping[str, str]) -> str:
    """A markdown table of sums by agent and model, and of all together; `names` by agent's key."""
    lines = [
        "| agent | model | calls | tokens in / out | cost |",
        "|---|---|--:|--:|--:|",
        *(_line(names.get(each.agent, each.agent), each.model, each) for each in spent),
    ]
    if len(spent) > 1:
        lines.append(_line("**in all**", "", total(spent)))
    notes = []
    if guessed := sum(each.estimated for each in spent):
        notes.append(f"The tokens of {_calls(guessed)} are an estimate.")
    if any(each.cost is None for each in spent):
        notes.append(
            "A cost of - means that neither the provider nor a `price` in config.yaml tells it."
        )
    return "\n".join(lines) + "".join(f"\n\n{note}" for note in notes)


def total(spent: Sequence[Sum]) -> Sum:
    """All together, grouped by nothing."""
    costs = [each.cost for each in spent if each.cost is not None]
    return Sum(
        calls=sum(each.calls for each in spent),
        failed=sum(each.failed for each in spent),
        estimated=sum(each.estimated for each in spent),
        prompt_tokens=sum(each.prompt_tokens for each in spent),
        completion_tokens=sum(each.completion_tokens for each in spent),
        cost=sum(costs) if costs else None,
    )


def shares(budgets: Budgets, today: Sequence[Sum], names: Mapping[str, str]) -> list[str]:
    """A line for each limit, how much of it is used today; `today` are sums by agent."""
    every = total(today)
    own = {each.agent: each for each in today}
    lines = [share(limit, _of(limit, every)) for limit in budget.limits(budgets, "", "")]
    for key, name in names.items():
        for limit in budget.limits(budgets, key, name):
            if limit.agent:
                lines.append(f"{share(limit, _of(limit, own.get(key, Sum())))}: {_cell(name)}")
    return [f"- {line}" for line in lines]


def today(limits: Sequence[Limit], spent: Today) -> list[tuple[str, str]]:
    """An agent's own part of today and the share of its limits, as lines of /status."""
    cost = f", {budget.dollars(spent.agent_cost)}" if spent.agent_cost else ""
    rows = [("today", f"{spent.agent_tokens:,} tokens{cost}")]
    return rows + [("budget", share(limit, limit.spent(spent))) for limit in limits]


def share(limit: Limit, spent: float) -> str:
    return f"{limit.share(spent)}% of today's {limit.words} (`{limit.key}`)"


def _of(limit: Limit, spent: Sum) -> float:
    if limit.measure == "tokens":
        return spent.prompt_tokens + spent.completion_tokens
    return spent.cost or 0.0


def _line(agent: str, model: str, spent: Sum) -> str:
    calls = f"{spent.calls:,}" + (f" ({spent.failed:,} failed)" if spent.failed else "")
    cost = "-" if spent.cost is None else budget.dollars(spent.cost)
    cells = [
        _cell(agent), _cell(model), calls,
        f"{spent.prompt_tokens:,} / {spent.completion_tokens:,}", cost,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """A name that cannot leave its cell."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").split())


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count:,} calls"


def _days(since: date, until: date) -> str:
    return f"of {until}" if since == until else f"from {since} to {until}"
