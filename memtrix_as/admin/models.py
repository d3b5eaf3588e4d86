"""Models and providers: what is configured, and whether it answers."""

import asyncio
import time

from memtrix_as.admin.command import Call, command, quoted, unknown
from memtrix_as.admin.tables import Cell, code, facts, page_of, paged, table, words
from memtrix_as.admin.words import amount
from memtrix_as.agent import notices
from memtrix_as.db import agents
from memtrix_as.errors import AdminError, ModelError
from memtrix_as.messages import Delta, Message, Usage
from memtrix_as.providers.base import BaseProvider
from memtrix_as.providers.catalog import Models

PATIENCE = 15.0  # seconds for a provider to list its models
ASKED = "This is a test. Answer with the one word: ready"
LONGEST = 120.0  # seconds for the answer to that


@command("models", "lists the configured models, and which agents use them")
async def models(call: Call) -> str:
    known: Models = call.get(Models)
    users: dict[str, list[str]] = {}
    for agent in await agents.load(call.db):
        users.setdefault(agent.model, []).append(agent.display_name)
    rows = []
    for name in known.names():
        settings = known.get(name).settings
        can = [what for what in ("tools", "vision", "think") if getattr(settings, what)]
        rows.append(
            (
                code(name),
                Cell(f"{code(settings.model)} at {code(settings.provider)}"),
                f"{settings.context:,} tokens; {', '.join(can) or 'text alone'}",
                ", ".join(users.pop(name, [])) or "-",
            )
        )
    shown = table(("model", "is", "has", "used by"), rows)
    for gone, people in users.items():
        shown += (
            f"\n\n⚠️ {words(', '.join(people))} uses {code(gone)}, which is not configured any "
            f"more. `agent model NAME MODEL` gives another."
        )
    return shown


@command(
    "model test NAME",
    "asks a model for one word, and tells how long that took",
    example="model test my-model",
    slow=True,
)
async def test(call: Call, name: str) -> str:
    known: Models = call.get(Models)
    found = next((n for n in known.names() if n.casefold() == name.casefold()), None)
    if found is None:
        raise unknown("model", name, known.names(), "models")
    model = known.get(found)
    limit = min(LONGEST, call.means.config.limits.turn_timeout)
    begun, first = time.monotonic(), 0.0
    text, usage = "", Usage()
    try:
        async for piece in model.stream([Message("user", ASKED)], timeout=limit):
            first = first or time.monotonic() - begun
            if not isinstance(piece, Delta):
                text, usage = piece.message.text, piece.usage
    except ModelError as exc:
        return f"❌ {code(found)} does not work: {exc}"
    rows = [
        ("says", words(text, 200) if text.strip() else "nothing at all"),
        ("first word after", notices.duration(first)),
        ("all after", notices.duration(time.monotonic() - begun)),
        ("tokens", f"{usage.prompt_tokens:,} in, {usage.completion_tokens:,} out"),
    ]
    return f"{'✅' if text.strip() else '⚠️'} {code(found)} answers.\n\n{facts(rows)}"


@command(
    "providers [NAME] [PAGE]",
    "shows whether the providers answer; with a name, the models that it offers",
    example="providers my-ollama",
    slow=True,
)
async def providers(call: Call, name: str, page: str) -> str:
    known: Models = call.get(Models)
    if name:
        return await _offered(known, name, page)
    asked = [_state(provider) for provider in known.providers.values()]
    states = await asyncio.gather(*asked)
    rows = [
        (code(provider), code(built.type), state)
        for (provider, built), state in zip(known.providers.items(), states, strict=True)
    ]
    shown = table(("provider", "type", "answers"), rows)
    for broken in known.broken:
        shown += f"\n\n⚠️ The file {code(broken)} could not be loaded; the log says why."
    return shown


async def _state(provider: BaseProvider) -> str:
    try:
        async with asyncio.timeout(PATIENCE):
            return f"✅ yes, with {amount(len(await provider.models()), 'model')}"
    except TimeoutError:
        return f"❌ not within {PATIENCE:.0f} seconds"
    except ModelError as exc:
        return f"❌ {exc}"


async def _offered(known: Models, name: str, page: str) -> str:
    found = next((n for n in known.providers if n.casefold() == name.casefold()), None)
    if found is None:
        raise unknown("provider", name, list(known.providers), "providers")
    wanted = page_of(page)
    if wanted is None:
        raise AdminError(f"{quoted(page)} is no page. Type `providers {found} 2`.")
    try:
        async with asyncio.timeout(PATIENCE):
            names = await known.providers[found].models()
    except TimeoutError:
        raise AdminError(f"{quoted(found)} did not answer within {PATIENCE:.0f} seconds.") from None
    rows = [(code(each, 120),) for each in sorted(names)]
    return paged(f"providers {found}", (f"models of {code(found)}",), rows, wanted, "models")
