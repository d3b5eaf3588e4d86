"""What a tool or a provider brings shows no secret of ours, to the model or to people."""

import pytest

from memtrix_as.testing import ScriptedModel
from tests.chat.test_sending import put
from tests.chat.test_tools import results
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Process, Service
from tests.rig.stage import Stage

pytestmark = only("direct")
KEY = "sk-or-v1-4f1c9d0a7be2"
TOOLS = f'''
"""Tools that tell more than they should."""

from memtrix_as.errors import ToolError
from memtrix_as.tool import tool

KEY = "{KEY}"


@tool(harmless=True)
async def echo() -> str:
    """Say what the server said."""
    return f"Request headers: Authorization: Bearer {{KEY}}"


@tool(harmless=True)
async def refuse() -> str:
    """Refuse."""
    raise ToolError(f"GET /?key={{KEY}} was refused")


@tool(harmless=True)
async def crash() -> str:
    """Crash."""
    raise RuntimeError(f"cannot log in with {{KEY}}")
'''


def loose_tongues(service: Service) -> None:
    """Give the service a key worth keeping, and tools that would tell it."""
    folder = service.folder / "tools"
    folder.mkdir(parents=True)
    (folder / "loose.py").write_text(TOOLS)
    service.set("tools.directories", [str(folder)])
    service.set("providers.scripted.api_key", KEY)


@pytest.fixture
async def loose(stopped: Service, stage: Stage) -> Chat:
    loose_tongues(stopped)
    await stopped.start()
    chat = await stage.chat()
    await chat.send("/verbose on")
    await chat.notice()
    return chat


async def test_no_result_and_no_error_shows_a_key(
    loose: Chat, stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    put(stopped, "env.txt", f"OPENROUTER_API_KEY={KEY}\n".encode())
    model.calls("read_file", path="env.txt")
    for name in ("echo", "refuse", "crash"):
        model.calls(name)
    model.says("I see nothing.")
    assert await loose.ask("what is the key?") == "I see nothing."
    told = results(model)
    assert "OPENROUTER_API_KEY=[secret]" in told[0] and "Bearer [secret]" in told[1]
    assert told[2] == "GET /?key=[secret] was refused" and "crash crashed" in told[3]
    stored = await stage.database.fetch("select text from messages")
    everything = [*told, *loose.notices(), *(row["text"] for row in stored)]
    assert KEY not in "".join(everything) and any("[secret]" in text for text in loose.notices())


async def test_no_key_comes_in_two_pieces(
    loose: Chat, stopped: Service, model: ScriptedModel
) -> None:
    put(stopped, "env.txt", f"KEY={KEY}".encode())
    for offset in range(0, len(KEY), 5):
        model.calls("read_file", path="env.txt", offset=offset, limit=5)
    model.says("Nothing.")
    assert await loose.ask("piece by piece") == "Nothing."
    told = "".join(results(model))
    assert not [n for n in range(len(KEY) - 4) if KEY[n : n + 5] in told]


async def test_a_provider_that_quotes_the_key_is_not_quoted(
    loose: Chat, model: ScriptedModel
) -> None:
    model.fails(401, f"Incorrect API key provided: {KEY}.")
    await loose.send("hello")
    await loose.until(lambda: len(loose.notices()) > 1, "the failure")
    assert KEY not in "".join(loose.notices())


async def test_the_log_of_a_crash_shows_no_key(
    process: Process, stage: Stage, model: ScriptedModel
) -> None:
    await process.stop()
    loose_tongues(process)
    await process.start()
    chat = await stage.chat()
    model.calls("crash")
    model.says("It broke.")
    assert await chat.ask("break it") == "It broke."
    assert "RuntimeError" in process.text() and KEY not in process.text()
