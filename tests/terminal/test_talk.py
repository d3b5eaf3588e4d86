"""A conversation at a real pseudo-terminal."""

from memtrix_as.testing import ScriptedModel
from tests.rig.terminal import Terminal


async def test_a_conversation(terminal: Terminal, model: ScriptedModel) -> None:
    model.says("Hello **Ann**.", "You told me: *blue*.")
    shown = await terminal.says("hello", "Hello Ann.")
    assert "**" not in shown
    await terminal.says("what is my colour?", "You told me: blue.")
    said = [m["content"] for m in model.requests[1].messages if m["role"] != "system"]
    assert said == ["hello", "Hello **Ann**.", "what is my colour?"]
    terminal.types("\x04")
    assert await terminal.ends() == 0
