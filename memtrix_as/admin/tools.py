"""Tools: which agents are offered which, switched on and off while everything runs."""

from memtrix_as.admin.command import Call, command, quoted, unknown
from memtrix_as.admin.tables import Cell, code, page_of, paged, words
from memtrix_as.agent.people import People
from memtrix_as.db import agents, switches
from memtrix_as.errors import AdminError
from memtrix_as.tool import Tool


@command("tools [PAGE]", "lists the tools, which of them ask first, and who is not offered them")
async def tools(call: Call, page: str) -> str:
    wanted = page_of(page)
    if wanted is None:
        raise AdminError(f"{quoted(page)} is no page. Type `tools`, or `tool disable NAME`.")
    names = {a.name: a.display_name for a in await agents.load(call.db)}
    off: dict[str, list[str]] = {}
    for each in await switches.every(call.db):
        off.setdefault(each.tool, []).append(each.agent)
    rows = [
        (code(name), _asks(tool), _state(off.get(name, []), names))
        for name, tool in sorted(call.means.tools.items())
    ]
    shown = paged("tools", ("tool", "asks first", "is"), rows, wanted, "tools")
    if disabled := call.means.config.tools.disabled:
        listed = ", ".join(code(name) for name in disabled)
        shown += f"\n\nSwitched off by `tools.disabled` in the configuration: {listed}."
    return shown


def _asks(tool: Tool) -> str:
    if tool.confirm:
        return "always"
    if tool.confirm_if:
        return "at times"
    return "never" if tool.harmless else "after text from outside"


def _state(off: list[str], names: dict[str, str]) -> Cell:
    if not off:
        return Cell("on")
    if "" in off:
        return Cell("**off**")
    people = ", ".join(words(names.get(name, name), 30) for name in off)
    return Cell(f"on, **off** for {people}")


@command(
    "tool disable NAME [AGENT]",
    "switches a tool off, for all agents or for one, from the next message on",
    example="tool disable web_search Dennis",
)
async def disable(call: Call, name: str, who: str) -> str:
    tool = _known(call, name)
    agent, called = await _whose(call, who)
    await switches.disable(call.db, tool, agent, call.sender)
    return (
        f"{code(tool)} is off for {called} from the next message on. A call of it that waits for a "
        "yes will not run either."
    )


@command(
    "tool enable NAME [AGENT]",
    "switches a tool on again, for all agents or for one",
    example="tool enable web_search",
)
async def enable(call: Call, name: str, who: str) -> str:
    tool = _known(call, name)
    agent, called = await _whose(call, who)
    off = {each.agent for each in await switches.every(call.db) if each.tool == tool}
    if agent and "" in off:
        raise AdminError(
            f"{code(tool)} is off for all agents. `tool enable {tool}` switches it on for all; "
            f"then `tool disable {tool} AGENT` takes it from single ones."
        )
    if not off or (agent and agent not in off):
        return f"{code(tool)} is on for {called} already."
    await switches.enable(call.db, tool, agent or None)
    return f"{code(tool)} is on for {called} from the next message on."


def _known(call: Call, name: str) -> str:
    known = call.means.tools
    found = next((tool for tool in known if tool.casefold() == name.casefold()), None)
    if found is not None:
        return found
    if name in call.means.config.tools.disabled:
        raise AdminError(
            f"{quoted(name)} is switched off by `tools.disabled` in the configuration. Take it out "
            "there and start again."
        )
    raise unknown("tool", name, list(known), "tools")


async def _whose(call: Call, who: str) -> tuple[str, str]:
    """The agent's key and what to call it; an empty key is all of them."""
    if not who:
        return "", "all agents"
    people: People = call.get(People)
    agent = await people.find(who)
    return agent.name, str(words(agent.display_name))
