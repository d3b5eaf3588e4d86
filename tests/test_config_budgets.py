"""Budgets and prices in the configuration: what is read, and every refusal by its key."""

import math
from pathlib import Path
from typing import Any

import pytest

from memtrix_as import config
from memtrix_as.errors import ConfigError
from tests.test_config import EXAMPLE, GOOD, changed, refusal, write


def test_without_the_section_there_is_no_limit(tmp_path: Path) -> None:
    settings = config.load(write(tmp_path, GOOD))
    assert settings.budgets == config.Budgets() and settings.models["my-model"].price is None
    assert config.load(write(tmp_path, GOOD + "budgets:\n")).budgets == config.Budgets()


def test_budgets_are_read(tmp_path: Path) -> None:
    more = """
budgets:
  tokens_per_day: 2000000
  cost_per_day: 5
  agent_tokens_per_day: none
  agent_cost_per_day:
  agents: {dennis: {tokens_per_day: 1000, cost_per_day: none}, Rosa: {}}
"""
    budgets = config.load(write(tmp_path, GOOD + more)).budgets
    assert (budgets.tokens_per_day, budgets.cost_per_day) == (2_000_000, 5.0)
    assert budgets.agent_tokens_per_day == math.inf and budgets.agent_cost_per_day is None
    assert budgets.agents == {"dennis": config.Budget(1000, math.inf), "Rosa": config.Budget()}


def test_a_price_is_read(tmp_path: Path) -> None:
    path = changed(tmp_path, "models/my-model/price", {"input": 0.15, "output": 1})
    assert config.load(path).models["my-model"].price == config.Price(0.15, 1.0)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("budgets", 5, "budgets: found 5 (a number), expected a section with keys"),
        ("budgets/tokens_per_day", 0, "budgets.tokens_per_day: found 0 (a number), expected a wh"),
        ("budgets/tokens_per_day", 1.5, "budgets.tokens_per_day: found 1.5 (a number), expected"),
        ("budgets/tokens_per_day", "many", 'budgets.tokens_per_day: found "many", expected a wh'),
        ("budgets/agent_tokens_per_day", True, "budgets.agent_tokens_per_day: found true"),
        ("budgets/cost_per_day", -1, "budgets.cost_per_day: found -1 (a number), expected US dol"),
        ("budgets/cost_per_day", math.nan, "budgets.cost_per_day: found nan"),
        ("budgets/cost_per_day", math.inf, "budgets.cost_per_day: found inf"),
        ("budgets/cost_per_day", [1], "budgets.cost_per_day: found a list"),
        ("budgets/agent_cost_per_day", "5 USD", 'budgets.agent_cost_per_day: found "5 USD"'),
        ("budgets/agents", ["dennis"], "budgets.agents: found a list, expected a section with k"),
        ("budgets/agents", {"": {}}, "budgets.agents.: is empty"),
        ("budgets/agents/dennis", 5, "budgets.agents.dennis: found 5 (a number), expected a sec"),
        ("budgets/agents/dennis/costs_per_day", 5, "there is no such key; did you mean cost_per"),
        ("budgets/agents/dennis/cost_per_day", 0, "budgets.agents.dennis.cost_per_day: found 0"),
        ("budgets/agents", {"Dennis": {}, "dennis": {}}, 'budgets.agents: has "dennis" twice'),
        ("budgets/token_per_day", 5, "budgets.token_per_day: there is no such key; did you mean"),
        ("models/my-model/price", 5, "models.my-model.price: found 5 (a number), expected a sec"),
        ("models/my-model/price", {"input": 1}, "models.my-model.price.output: is missing"),
        ("models/my-model/price/input", -1, "models.my-model.price.input: found -1"),
    ],
)
def test_what_is_wrong_is_told_by_its_key(tmp_path: Path, key: str, value: Any, told: str) -> None:
    assert any(told in line for line in refusal(changed(tmp_path, key, value)))


def test_the_example_shows_every_key(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    begin = text.index("# budgets:")
    shown = text[begin : text.index("\n\n", begin)]
    section = "\n".join(line.removeprefix("# ") for line in shown.splitlines())
    budgets = config.load(write(tmp_path, f"{GOOD}\n{section}\n")).budgets
    assert budgets.tokens_per_day and budgets.cost_per_day
    assert budgets.agent_tokens_per_day and budgets.agent_cost_per_day
    (own,) = budgets.agents.values()
    assert own.tokens_per_day and own.cost_per_day


def test_limits_do_not_hide_what_else_is_wrong(tmp_path: Path) -> None:
    path = changed(tmp_path, "budgets/tokens_per_day", 0)
    path.write_text(path.read_text().replace("port: 29345", "port: many"))
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert "appservice.port" in str(caught.value) and "budgets.tokens_per_day" in str(caught.value)
