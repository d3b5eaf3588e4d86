"""Which tools an agent is offered."""

from collections.abc import Mapping

from memtrix_as.agent.means import Means
from memtrix_as.db.turns import Turn
from memtrix_as.tool import Tool


def offered(means: Means, turn: Turn) -> Mapping[str, Tool]:
    """All tools, but for those that are the main agent's alone."""
    return {name: tool for name, tool in means.tools.items() if turn.main or not tool.main}
