"""The wizard's questions about money: what models cost, and what may be spent in a day."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from memtrix_as.settings import checks
from memtrix_as.terminal.asking import Asker, Key
from memtrix_as.terminal.wizard import Wizard

FREE, NONE = "free", "none"
TELLS = ("ollama", "openrouter")  # the one costs nothing, the other tells what a call cost
PRICE = re.compile(r"([\d.]+)\D+([\d.]+)\D*")
BUDGETS: dict[str, tuple[str, Callable[[object], float]]] = {
    "cost_per_day": ("US dollars at most, of all agents together", checks.cost_per_day),
    "tokens_per_day": ("Tokens at most, of all agents together", checks.tokens_per_day),
    "agent_cost_per_day": ("US dollars at most, of each agent", checks.cost_per_day),
    "agent_tokens_per_day": ("Tokens at most, of each agent", checks.tokens_per_day),
}
UNPRICED = "Dollars count only for models with a price: {models} has none."


def priced(
    asker: Asker, at: Key, section: dict[str, Any], provider: Mapping[str, Any]
) -> dict[str, Any]:
    """A model's section with what it costs; nobody is asked where that is known anyway."""
    if asker.attended and provider.get("type") in TELLS:
        return section
    old = section.get("price")
    default = f"{old['input']} {old['output']}" if old else FREE
    question = f"US dollars for a million tokens in, and out, such as 0.15 0.60; or {FREE}"
    text = asker.text(at, question, default, _price)
    section = {key: value for key, value in section.items() if key != "price"}
    if text == FREE:
        return section
    read, written = map(float, text.split())
    return {**section, "price": {"input": read, "output": written}}


def _price(text: str) -> str:
    """Two numbers; from a file of answers also as `{"input": 0.15, "output": 0.6}`."""
    match = PRICE.fullmatch(re.sub(r'[{}":]|input|output', " ", text).strip())
    try:
        if text == FREE or (match and all(float(number) <= 100_000 for number in match.groups())):
            return text if match is None else " ".join(match.groups())
    except ValueError:
        pass
    raise ValueError(f"found {{found}}, expected two numbers such as 0.15 0.60, or {FREE}")


async def budgets(wizard: Wizard) -> None:
    asker, draft = wizard.asker, wizard.draft
    have = dict(draft.get("budgets", default={}))
    if asker.attended and not asker.yes((), "Limit what may be spent in a day?", bool(have)):
        draft.settings.pop("budgets", None)
        return
    for key, (question, read) in BUDGETS.items():
        text = asker.text(
            ("budgets", key), f"{question}, or {NONE}", str(have.pop(key, NONE)), _limit(read)
        )
        if text != NONE:
            have[key] = _number(text)
    if have:
        draft.set("budgets", value=have)
    else:
        draft.settings.pop("budgets", None)
    models, providers = draft.get("models"), draft.get("providers")
    free = [
        name
        for name, model in models.items()
        if "price" not in model and providers[model["provider"]]["type"] not in TELLS
    ]
    if free and any("cost" in key for key in have):
        asker.say(UNPRICED.format(models=", ".join(free)), "yellow")


def _limit(read: Callable[[object], float]) -> Callable[[str], str]:
    def check(text: str) -> str:
        read(text if text == NONE else _number(text))
        return text

    return check


def _number(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def told(budgets: Mapping[str, Any]) -> str:
    said = [f"{value} ({BUDGETS[key][0]})" for key, value in budgets.items() if key in BUDGETS]
    return ", ".join(said) or "as much as is wanted"
