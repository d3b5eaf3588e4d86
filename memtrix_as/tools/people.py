"""Other agents: make them, list them, take leave of them, ask them."""

from collections.abc import Mapping
from typing import Any

from memtrix_as.agent.consult import Consults
from memtrix_as.agent.people import People
from memtrix_as.db.agents import Agent
from memtrix_as.errors import ToolError
from memtrix_as.tool import Channel, ToolContext, tool

SHOWN = 60  # agents in one list


async def _makes(ctx: ToolContext, arguments: Mapping[str, Any]) -> str:
    """What is asked before; a name that cannot be used is not asked about."""
    name = await ctx.get(People).check_name(str(arguments.get("name", "")))
    expertise = " ".join(str(arguments.get("description", "")).split())
    return f"It makes a new agent, {name}, with a mind and a memory of its own: {expertise}"


@tool(confirm=True, alone=True, main=True, confirm_if=_makes)
async def create_agent(
    ctx: ToolContext, name: str, description: str, model: str | None = None
) -> str:
    """Make a new specialist agent, with its own character, memory and Matrix user.

    The user is asked first. Ask for a human name if none was given; do not make one up.

    Args:
        name: a human name in any script, such as Dennis or Mary Ann
        description: what it is to be good at, in a sentence or two
        model: the model that it uses, as the configuration calls it; yours if left out
    """
    people = ctx.get(People)
    agent = await people.create(name, description, model=model, by=ctx.sender)
    offered = await ctx.services[Channel].offer_room(ctx, agent.name, agent.display_name)
    told = " The user is being asked whether to open a room with it right away." if offered else ""
    return (
        f"{agent.display_name} is ready. Its Matrix user is {agent.user_id}; invite it into any "
        f"room to talk with it. Ask it yourself with ask_agent.{told}"
    )


@tool(repeatable=True, harmless=True, main=True)
async def list_agents(ctx: ToolContext, offset: int = 0) -> str:
    """List all agents: what they are called, what they are good at, their Matrix users.

    Args:
        offset: how many to skip, to read on in a long list
    """
    everyone = await ctx.get(People).all()
    others = [agent for agent in everyone if agent.name != ctx.place.agent]
    start = max(offset, 0)
    shown = others[start : start + SHOWN]
    if not shown:
        return "There are no more." if start and others else "There are no other agents yet."
    lines = [_line(agent) for agent in shown]
    end = start + len(shown)
    if end < len(others):
        lines.append(f"({end} of {len(others)}; read on with offset={end})")
    return "\n".join(lines)


def _line(agent: Agent) -> str:
    field = f": {agent.expertise}" if agent.expertise else ""
    return f"- {agent.display_name} ({agent.user_id}, model {agent.model}){field}"


async def _removes(ctx: ToolContext, arguments: Mapping[str, Any]) -> str:
    """What goes with an agent; one that is not there is not asked about."""
    people = ctx.get(People)
    agent = await people.find(str(arguments.get("name", "")))
    if agent.main:
        raise ToolError(f"{agent.display_name} is the main agent: it cannot be removed.")
    await people.check_remover(agent, ctx.sender)
    extent = await people.extent(agent)
    what = (
        f"{_count(extent.sessions, 'conversation')} with {_count(extent.messages, 'message')}, "
        f"{_count(extent.journal_days, 'day')} of its journal, {_count(extent.files, 'file')}"
    )
    stops = f"It stops {agent.display_name}, which leaves {_count(extent.rooms, 'room')}."
    if arguments.get("purge"):
        return f"{stops} All that belongs to it is deleted for good: {what}."
    return (
        f"{stops} What belongs to it is archived, and agent restore in the management room "
        f"brings it back: {what}."
    )


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


@tool(confirm=True, alone=True, main=True, confirm_if=_removes, each=True)
async def delete_agent(ctx: ToolContext, name: str, purge: bool = False) -> str:
    """Remove an agent. The user is asked first. Its data is archived, unless purge is set.

    Args:
        name: what the agent is called
        purge: delete its memory, conversations and files for good; only if the user wants that
    """
    people = ctx.get(People)
    agent = await people.find(name)
    await people.check_remover(agent, ctx.sender)
    return await people.remove(agent, purge=purge)


@tool(repeatable=True, harmless=True)
async def ask_agent(ctx: ToolContext, name: str, message: str) -> str:
    """Ask another agent, and get its answer. It knows nothing of this conversation.

    Several can be asked at once. Nobody else reads what you ask and what it answers.

    Args:
        name: what the agent is called
        message: the whole question, with all that it needs to know to answer
    """
    people = ctx.get(People)
    return await ctx.get(Consults).ask(ctx, lambda: people.find(name), message)
