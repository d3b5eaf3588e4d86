"""Which of the tools an agent is offered now."""

from collections.abc import Mapping

from memtrix_as.agent.means import Means
from memtrix_as.db.turns import Turn
from memtrix_as.tool import Tool


def offered(means: Means, turn: Turn) -> Mapping[str, Tool]:
    """All but those that are switched off, for this agent or for all, or the main agent's alone."""
    return {
        name: tool for name, tool in means.tools.items()
        if name not in turn.off and (turn.main or not tool.main)
    }  # fmt: skip
