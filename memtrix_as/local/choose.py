"""Which model a newcomer's agent speaks with: the best that is there without asking anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from memtrix_as.config import environment
from memtrix_as.errors import LocalPartError
from memtrix_as.local import small_model

OLLAMA = "http://127.0.0.1:11434"
OPENROUTER_DEFAULT = "openrouter/auto"
KEY = "OPENROUTER_API_KEY"
SMALL = "small"
# The names of our choices in config.yaml; whoever sets main_agent.model to another name keeps it.
OURS = ("openrouter", "ollama", SMALL)


@dataclass(frozen=True)
class Choice:
    """A model as config.yaml describes it; `told` is the sentence for the human."""

    name: str
    provider: Mapping[str, Any]
    model: Mapping[str, Any]
    told: str

    @property
    def small(self) -> bool:
        return self.name == SMALL


async def choose(wanted: str | None, port: int) -> Choice:
    """OpenRouter if there is a key, else an Ollama that has a model, else the small one.

    `wanted` is a model's name there, or `small`; `port` is where the small one will answer.
    """
    if wanted == SMALL:
        return _small(port, "as you wished")
    if environment(KEY) or environment(f"MEMTRIX_SECRET_{KEY}"):
        model = wanted or OPENROUTER_DEFAULT
        return Choice(
            "openrouter",
            {"type": "openrouter", "api_key": f"${KEY}"},
            {"model": model, "context": 32768},
            f"{model} at OpenRouter, because {KEY} is set (another: --model NAME)",
        )
    offered = await _ollama()
    if wanted and wanted not in offered:
        have = f"Ollama has {', '.join(offered)}" if offered else "no Ollama answers on port 11434"
        raise LocalPartError(
            f"There is no model {wanted}: {KEY} is not set, and {have}. "
            f"Set {KEY}, or `ollama pull {wanted}`, or leave out --model."
        )
    for name in [wanted] if wanted else offered:
        abilities = await _abilities(name)
        if "completion" in abilities or not abilities:  # old versions do not tell
            return Choice(
                "ollama",
                {"type": "ollama", "base_url": OLLAMA},
                {"model": name, "tools": "tools" in abilities or not abilities},
                f"{name} of the Ollama on this machine (another: --model NAME)",
            )
    return _small(port, f"because {KEY} is not set and no Ollama with a model answers")


def _small(port: int, why: str) -> Choice:
    return Choice(
        SMALL,
        {"type": "openai_compatible", "base_url": f"http://127.0.0.1:{port}/v1"},
        {
            "model": small_model.NAME,
            "context": 8192,
            "max_tokens": 150,
            "temperature": 0.2,
            "tools": False,
        },
        f"a very small model on this machine, {why}. It can say hello and little more: for a "
        f"real assistant set {KEY}, or start an Ollama with a model, and run this again",
    )


async def _ask(method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What Ollama says; nothing if it is not there or is something else."""
    patience = aiohttp.ClientTimeout(total=3)
    try:
        async with (
            aiohttp.ClientSession(timeout=patience) as session,
            session.request(method, OLLAMA + path, json=body) as answer,
        ):
            told = await answer.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


async def _ollama() -> list[str]:
    models = (await _ask("GET", "/api/tags")).get("models") or []
    return [str(model["name"]) for model in models if "name" in model]


async def _abilities(model: str) -> list[str]:
    return list((await _ask("POST", "/api/show", {"model": model})).get("capabilities") or [])
