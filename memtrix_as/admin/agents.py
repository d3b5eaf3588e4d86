"""Agents: who there is, made, changed, asked, archived and deleted."""

import asyncio
from collections.abc import Mapping
from typing import Any

from memtrix_as.admin.command import Ask, Call, command, quoted, unknown
from memtrix_as.admin.tables import code, facts, page_of, paged, words
from memtrix_as.admin.words import amount, shares
from memtrix_as.agent.people import Extent, People
from memtrix_as.db import agents as rows
from memtrix_as.db import overview
from memtrix_as.db.agents import Agent
from memtrix_as.errors import AdminError, PeopleError
from memtrix_as.providers.catalog import Models
from memtrix_as.workspace import Workspaces

MODEL = "model="
MEGABYTE = 1_000_000


def _people(call: Call) -> People:
    people: People = call.get(People)
    return people


def _model(call: Call, name: str) -> str:
    """A model's name as it is configured."""
    models: Models = call.get(Models)
    names = models.names()
    found = next((known for known in names if known.casefold() == name.casefold()), None)
    if found is None:
        raise unknown("model", name, names, "models")
    return found


@command("agents [PAGE]", "lists the agents", commits=True)
async def agents(call: Call, page: str) -> str:
    wanted = page_of(page)
    if wanted is None:
        raise AdminError(f"{quoted(page)} is no page. Type `agents`, or `agent show NAME`.")
    people = _people(call)
    here = await overview.rooms_of_agents(call.means.pool)
    shown = [
        (words(a.display_name), code(a.model), here.get(a.name, 0), "main" if a.main else "")
        for a in await people.all()
    ]
    shown += [
        (words(a.display_name), code(a.model), 0, "archived") for a in await people.archived()
    ]
    return paged("agents", ("agent", "model", "rooms", "is"), shown, wanted, "agents")


@command(
    "agent create NAME [EXPERTISE…]",
    f"makes a sub-agent; `{MODEL}NAME` at the end gives it another model than the main agent's",
    example='agent create Dennis "knows Python and databases"',
    commits=True,
)
async def create(call: Call, name: str, expertise: str) -> str:
    model = None
    last = (expertise.split() or [""])[-1]
    if last.startswith(MODEL):
        model = _model(call, last.removeprefix(MODEL))
        expertise = expertise[: expertise.rindex(last)].strip().strip("\"'")
    agent = await _people(call).create(name, expertise, model=model, by=call.sender)
    return (
        f"{words(agent.display_name)} is there as {code(agent.user_id)}, with the model "
        f"{code(agent.model)}. Invite it into a room without encryption to talk with it."
    )


@command("agent show NAME", "shows all about an agent", example="agent show Dennis", commits=True)
async def show(call: Call, name: str) -> str:
    agent = await _people(call).find(name)
    extent = await _people(call).extent(agent)
    rows = [
        ("agent", words(agent.display_name) + (", the main agent" if agent.main else "")),
        ("user id", code(agent.user_id)),
        ("expertise", words(agent.expertise, 300) if agent.expertise else "-"),
        ("model", code(agent.model)),
        ("verbose", _on(agent.verbose)),
        ("reasoning", _on(agent.reasoning)),
        ("recall", _on(agent.recall)),
        ("made by", code(agent.created_by) if agent.created_by else "-"),
        ("has", _has(extent)),
        ("workspace", await _room(call, agent)),
    ]
    return facts(rows)


@command(
    "agent rename NAME NEW-NAME",
    "gives an agent another name; its user id and its memory stay",
    example="agent rename Dennis Denise",
    commits=True,
)
async def rename(call: Call, name: str, new: str) -> str:
    people = _people(call)
    agent = await people.rename(await people.find(name), new)
    return f"{quoted(name)} is now called {words(agent.display_name)}."


@command(
    "agent model NAME MODEL",
    "gives an agent another model, from the next message on",
    example="agent model Dennis my-model",
    commits=True,
)
async def model(call: Call, name: str, model: str) -> str:
    agent = await _people(call).find(name)
    wanted = _model(call, model)
    await _people(call).use(agent, wanted)
    return f"{words(agent.display_name)} uses {code(wanted)} from the next message on."


@command(
    "agent verbose NAME on|off",
    "shows the tools that an agent uses, or not",
    example="agent verbose Dennis on",
    commits=True,
)
async def verbose(call: Call, name: str, direction: str) -> str:
    return await _switch(call, name, "verbose", direction)


@command(
    "agent reasoning NAME on|off",
    "shows what an agent thinks before it answers, or not",
    example="agent reasoning Dennis off",
    commits=True,
)
async def reasoning(call: Call, name: str, direction: str) -> str:
    return await _switch(call, name, "reasoning", direction)


async def _switch(call: Call, name: str, setting: str, direction: str) -> str:
    agent = await _people(call).find(name)
    await rows.switch(call.means.pool, agent.name, setting, direction == "on")
    return f"`{setting}` of {words(agent.display_name)} is {direction} from now on."


async def _archived(call: Call, details: Mapping[str, Any]) -> str:
    return await _people(call).remove(await _same(call, details), purge=False)


@command(
    "agent archive NAME",
    "takes an agent out of all rooms and keeps what it has; `agent restore` brings it back",
    example="agent archive Dennis",
    then=_archived,
    commits=True,
)
async def archive(call: Call, name: str) -> Ask:
    agent, extent = await _sub_agent(call, name)
    return Ask(
        f"**{words(agent.display_name)}** ({code(agent.user_id)}) leaves "
        f"{amount(extent.rooms, 'room')} and answers nobody any more. What it has is kept: "
        f"{_kept(extent)}. `agent restore` brings it back.",
        {"agent": agent.name, "user_id": agent.user_id},
    )


async def _deleted(call: Call, details: Mapping[str, Any]) -> str:
    return await _people(call).remove(await _same(call, details), purge=True)


@command(
    "agent delete NAME",
    "removes an agent for ever, with all that it has",
    example="agent delete Dennis",
    then=_deleted,
    commits=True,
)
async def delete(call: Call, name: str) -> Ask:
    agent, extent = await _sub_agent(call, name, kept=True)
    if agent.state == "archived":
        return Ask(
            f"What is kept of **{words(agent.display_name)}**, who is archived, is **deleted for "
            f"ever**: {_kept(extent)}.",
            {"agent": agent.name, "user_id": agent.user_id},
        )
    return Ask(
        f"**{words(agent.display_name)}** ({code(agent.user_id)}) leaves "
        f"{amount(extent.rooms, 'room')} and is **deleted for ever**, with {_kept(extent)}. What "
        "it has said stays in the rooms. `agent archive` would keep its data.",
        {"agent": agent.name, "user_id": agent.user_id},
    )


@command(
    "agent restore NAME",
    "brings an archived agent back, with all that it had",
    example="agent restore Dennis",
    commits=True,
)
async def restore(call: Call, name: str) -> str:
    archived = await _people(call).archived()
    wanted = name.casefold()
    found = next((a for a in archived if wanted in (a.name, a.display_name.casefold())), None)
    if found is None:
        names = [a.display_name for a in archived]
        raise unknown("archived agent", name, names, "agents")
    agent = await _people(call).restore(found)
    return (
        f"{words(agent.display_name)} is back as {code(agent.user_id)}. Invite it into rooms again."
    )


@command(
    "agent ask NAME QUESTION…",
    "asks an agent something; its answer comes into this room",
    example="agent ask Dennis what are you working on?",
    commits=True,
)
async def ask(call: Call, name: str, question: str) -> str:
    agent = await _people(call).find(name)
    place = call.incoming.place
    await _people(call).ask(
        agent, question, by=call.sender, place=place, event_id=call.incoming.event_id
    )
    return f"{words(agent.display_name)} is asked; the answer comes here."


async def _sub_agent(call: Call, name: str, *, kept: bool = False) -> tuple[Agent, Extent]:
    """A sub-agent; with `kept` also one that is archived, where none that is there is meant."""
    people = _people(call)
    try:
        agent = await people.find(name)
    except PeopleError:
        if not kept or not await people.archived():
            raise
        agent = await people.find(name, archived=True)
    if agent.main:
        raise AdminError(
            f"{words(agent.display_name)} is the main agent, without which nothing works. Its name "
            "and its model stand below `main_agent` in the configuration."
        )
    return agent, await _people(call).extent(agent)


async def _same(call: Call, details: Mapping[str, Any]) -> Agent:
    """The agent that the question was about, which nobody has removed or replaced meanwhile."""
    for agent in [*await _people(call).all(), *await _people(call).archived()]:
        if (agent.name, agent.user_id) == (details["agent"], details["user_id"]):
            return agent
    raise PeopleError(f"There is no agent {code(details['agent'])} any more.")


async def _room(call: Call, agent: Agent) -> str:
    """How full its workspace is, as `limits.workspace_size` counts."""
    workspaces: Workspaces = call.get(Workspaces)
    quota = workspaces.of(agent.name).quota
    return shares(await asyncio.to_thread(quota.used), quota.most)


def _has(extent: Extent) -> str:
    return f"{amount(extent.rooms, 'room')}, {_kept(extent)}"


def _kept(extent: Extent) -> str:
    parts = [
        amount(extent.sessions, "conversation"),
        f"{amount(extent.messages, 'message')} in them",
        f"journals of {amount(extent.journal_days, 'day')}",
        amount(extent.passages, "passage") + " of memory",
        f"{amount(extent.files, 'file')} ({extent.bytes / MEGABYTE:.1f} MB)",
    ]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _on(value: bool) -> str:
    return "on" if value else "off"
