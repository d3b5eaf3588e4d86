"""What tools say where a channel can show neither files nor emoji."""

import pytest

from memtrix_as.errors import ToolError
from tests.rig.tooling import Bench


async def test_a_channel_without_files_and_reactions_is_told(bench: Bench) -> None:
    bench.put("plan.md", "x")
    with pytest.raises(ToolError, match="On this channel files cannot be sent"):
        await bench.call("send_file", path="plan.md")
    with pytest.raises(ToolError, match="On this channel there are no reactions"):
        await bench.call("react_to_message", emoji="👍")
