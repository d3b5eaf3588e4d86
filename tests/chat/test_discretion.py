"""What was said never stands in the log, whatever fails with it; nor does a secret."""

import json

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.modes import only
from tests.rig.service import Process
from tests.rig.stage import Stage
from tests.rig.waiting import until

pytestmark = only("direct")

WORD = "zzsecretword"
TOOL = f'''
from memtrix_as.errors import ToolError
from memtrix_as.tool import tool

@tool(harmless=True)
async def trip(words: str, how: str) -> str:
    """Trip over what it is given.

    Args:
        words: something that was said
        how: in which way
    """
    if how == "crash":
        try:
            raise KeyError(words)
        except KeyError as exc:
            raise ValueError(f"strange: {{words}}") from exc
    if how == "refuse":
        raise ToolError(f"not {{words}}")
    return f"{{words}} {WORD}"
'''


@pytest.mark.parametrize("style", ["text", "json"])
async def test_nothing_that_was_said_is_logged(
    process: Process, stage: Stage, model: ScriptedModel, style: str
) -> None:
    await process.stop()
    folder = process.folder / "tools"
    folder.mkdir()
    (folder / "trip.py").write_text(TOOL)
    process.set("tools.directories", [str(folder)])
    process.set("logging", {"format": style})
    process.log.write_text("")
    await process.start()
    chat = await stage.chat()
    for how in ("crash", "refuse", "tell"):
        model.calls("trip", words=f"{WORD} {how}", how=how)
    model.calls(f"no_{WORD}")
    model.calls("read_file", path=f"../{WORD}")
    model.says(f"I tripped over {WORD}.")
    assert WORD in await chat.ask(f"trip over {WORD}")
    model.fails(400, f"cannot parse: {WORD} was sent")
    await chat.send(f"fail with {WORD}")
    assert WORD in await chat.notice()  # the room may see it
    model.fails(503, f"busy with {WORD}")
    model.says("Fine.")
    event = await chat.send(f"again {WORD}")
    await chat.until(lambda: "Fine." in chat.replies() or None, "an answer")
    await chat.edit(event, f"edited {WORD}")
    await chat.redact(event)
    await chat.send(f"/persona undo {WORD}")
    await chat.send(f"/verbose {WORD}")
    model.by_default(f"{WORD} it is.")
    await chat.ask("the last one")
    log = await until(lambda: process.text() or None, "a log")
    assert "The tool trip crashed" in log and "ValueError" in log and "failed" in log
    assert [line for line in log.splitlines() if WORD in line] == []
    for token in ("as_token", "hs_token"):
        assert process.settings["appservice"][token] not in log
    if style == "json":
        lines = [json.loads(line) for line in log.splitlines()]
        assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
        crash = next(line for line in lines if "crashed" in line["message"])
        assert "trip.py" in crash["exception"] and crash["level"] == "ERROR"
