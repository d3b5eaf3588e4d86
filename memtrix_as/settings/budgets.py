"""What model calls cost, and what may be spent in a day: the sections `price` and `budgets`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from memtrix_as.settings import checks

PerMillion = Annotated[float, checks.between(0, 100_000)]  # US dollars for a million tokens
Tokens = Annotated[Any, checks.tokens_per_day]  # infinite when it is "none"
Dollars = Annotated[Any, checks.cost_per_day]


@dataclass(frozen=True)
class Price:
    """What a provider takes that does not tell it with each call."""

    input: PerMillion
    output: PerMillion


@dataclass(frozen=True)
class Budget:
    """What one agent may spend in a day; what is None here is as for every other."""

    tokens_per_day: Tokens | None = None
    cost_per_day: Dollars | None = None


@dataclass(frozen=True)
class Budgets:
    """What may be spent in a day: by all agents together, by each, and by some by name."""

    tokens_per_day: Tokens | None = None
    cost_per_day: Dollars | None = None
    agent_tokens_per_day: Tokens | None = None
    agent_cost_per_day: Dollars | None = None
    agents: Annotated[Mapping[Annotated[str, checks.not_empty], Budget], checks.distinct] = field(
        default_factory=dict
    )
