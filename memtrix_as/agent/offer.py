"""Which of the tools an agent is offered now."""

from collections.abc import Mapping

from memtrix_as.agent.means import Means
from memtrix_as.db import switches
from memtrix_as.tool import Tool


async def offered(means: Means, agent: str) -> Mapping[str, Tool]:
    """The tools without those that are switched off, for this agent or for all."""
    off = await switches.off(means.pool, agent)
    if not off:
        return means.tools
    return {name: tool for name, tool in means.tools.items() if name not in off}
