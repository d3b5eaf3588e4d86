"""Tools that are classes: their arguments, what they are given, and what they can do meanwhile."""

import asyncio
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from memtrix_as import config
from memtrix_as.errors import ToolError
from memtrix_as.messages import OutgoingFile, Place
from memtrix_as.tool import BaseTool, Channel, Human, Tool, ToolContext
from memtrix_as.tools.base import About, made
from memtrix_as.workspace import Workspaces
from tests.test_config import GOOD, write

UTC = ZoneInfo("UTC")
DAYS = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer", "minimum": 1},
        "more": {"type": "array", "items": {"$ref": "#/$defs/word"}},
    },
    "$defs": {"word": {"type": "string"}},
    "required": ["city"],
}


class Ann:
    """Says what she is told to, as soon as she may."""

    def __init__(self, word: bool = True) -> None:
        self.asked: list[str] = []
        self.word, self.heard, self.may = word, asyncio.Event(), asyncio.Event()
        self.may.set()

    async def agrees(self, ctx: ToolContext, question: str) -> bool:
        self.asked.append(question)
        self.heard.set()
        await self.may.wait()
        return self.word


class Wall:
    """A room in which emoji are put on a wall, until it is full."""

    def __init__(self) -> None:
        self.emoji: list[str] = []

    async def react(self, ctx: ToolContext, emoji: str) -> None:
        if len(self.emoji) == 2:
            raise ToolError("The wall is full.")
        self.emoji.append(emoji)

    async def largest(self, ctx: ToolContext) -> int:
        return 0

    async def send_file(self, ctx: ToolContext, file: OutgoingFile, caption: str = "") -> None: ...


def context(agent: str = "memtrix", **services: object) -> ToolContext:
    kinds: dict[str, type] = {"human": Human, "channel": Channel}
    known = {kinds[name]: service for name, service in services.items()}
    return ToolContext(Place("!r:hs", agent), "@ann:hs", "$1", UTC, services=known)


class Plain(BaseTool):
    """A tool whose `execute` is whatever a test makes of it."""

    def __init__(self) -> None:
        super().__init__(name="plain", description="Does something.", parameters=DAYS)

    def execute(self, **kwargs: Any) -> Any:
        return kwargs


def tool_of(execute: Any, schema: Mapping[str, Any] = DAYS, **policy: bool) -> Tool:
    """A tool of a class with this `execute`."""

    def init(self: BaseTool) -> None:
        BaseTool.__init__(self, "made", "Made by a test.", schema)

    return made(type("Made", (BaseTool,), {"__init__": init, "execute": execute, **policy}), None)


OSLO = {"city": "Oslo"}


async def test_it_gets_its_arguments_and_what_is_injected() -> None:
    seen: dict[str, Any] = {}
    await tool_of(lambda self, **kw: seen.update(kw))(context(), {**OSLO, "days": 2})
    assert (seen["city"], seen["days"], seen["_room_id"], seen["_agent_depth"]) == (
        "Oslo", 2, "!r:hs", 0
    )  # fmt: skip
    assert callable(seen["_ask"]) and callable(seen["_react"])


async def test_it_gets_only_what_it_names() -> None:
    named = tool_of(lambda self, city, _room_id, days=1: f"{city} {days} {_room_id}")
    assert await named(context(), OSLO) == "Oslo 1 !r:hs"
    with pytest.raises(ToolError, match="more: there is no such argument"):
        await named(context(), {**OSLO, "more": []})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "'city' is a required property"),
        ({"city": 5}, "city: 5 is not of type 'string'"),
        ({"city": "x", "days": 0}, "days: 0 is less than the minimum of 1"),
        ({"city": "x", "more": ["a", 5]}, "more.1: 5 is not of type 'string'"),
        ({"city": "x", "_room_id": "!other"}, "_room_id: there is no such argument"),
        ({"city": "x", "_ask": True, "_x": 1}, "_ask: there is no such argument; _x: there is"),
        ({"city": 5, "days": "2"}, "city: 5 is not of type 'string'; days: '2' is not"),
    ],
)
async def test_what_does_not_fit_is_told(arguments: dict[str, Any], words: str) -> None:
    ran: list[int] = []
    tool = tool_of(lambda self, **kw: ran.append(1))
    with pytest.raises(ToolError) as caught:
        await tool(context(), arguments)
    assert "made was not run, its arguments are wrong" in str(caught.value)
    assert words in str(caught.value) and not ran


async def test_a_complaint_is_never_long_and_no_schema_is_fetched() -> None:
    with pytest.raises(ToolError) as caught:
        await tool_of(lambda self, **kw: "")(context(), {"city": ["x" * 10**6] * 2})
    assert len(str(caught.value)) < 1000
    remote = {"properties": {"a": {"$ref": "http://127.0.0.1:9/x.json"}}}
    with pytest.raises(Exception, match="Unresolvable"):
        await tool_of(lambda self, **kw: "", remote)(context(), {"a": 1})


async def test_the_tool_may_change_its_arguments() -> None:
    given = {**OSLO, "more": ["a"]}
    await tool_of(lambda self, **kw: kw["more"].append("b"))(context(), given)
    assert given["more"] == ["a"]


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("fine", "fine"),
        (None, "(It returned nothing.)"),
        (5, "5"),
        ({"größe": (1, 2)}, '{"größe": [1, 2]}'),
        (b"\xc3\xa4\xff", "ä\ufffd"),
        (Path("x"), "x"),
    ],
)
async def test_a_result_is_text(result: object, text: str) -> None:
    assert await tool_of(lambda self, **kw: result)(context(), OSLO) == text


async def test_a_result_without_an_end_is_cut() -> None:
    text = await tool_of(lambda self, **kw: "x" * 10**6)(context(), OSLO)
    assert text.endswith("(The first 50,000 of 1,000,000 characters.)") and len(text) < 51_000


async def test_the_policy_stands_in_the_class() -> None:
    tool = tool_of(lambda self, **kw: "", confirm=True, untrusted=True, alone=True)
    assert (tool.confirm, tool.untrusted, tool.alone, tool.repeatable) == (True, True, True, False)


async def test_plain_code_holds_up_nobody() -> None:
    """Not even a hundred that hang at once: asyncio's own threads stay free."""
    free, begun = threading.Event(), time.monotonic()
    tool = tool_of(lambda self, **kw: free.wait(30) and "done")
    calls = [asyncio.create_task(tool(context(), OSLO)) for _ in range(100)]
    await asyncio.sleep(0.1)
    assert await asyncio.to_thread(lambda: 1) == 1 and time.monotonic() - begun < 5
    free.set()
    assert set(await asyncio.gather(*calls)) == {"done"}


async def test_async_code_runs_in_the_loop() -> None:
    async def execute(self: BaseTool, **kwargs: Any) -> str:
        await asyncio.sleep(0)
        return threading.current_thread().name

    assert await tool_of(execute)(context(), OSLO) == threading.main_thread().name
    assert await tool_of(lambda self, **kw: execute(self))(context(), OSLO)  # returns a coroutine


@pytest.mark.parametrize("stop", [SystemExit(1), StopIteration(), asyncio.CancelledError()])
async def test_what_would_stop_more_than_the_call_does_not(stop: BaseException) -> None:
    def plain(self: BaseTool, **kwargs: Any) -> str:
        raise stop

    async def awaited(self: BaseTool, **kwargs: Any) -> str:
        raise stop

    with pytest.raises(RuntimeError):
        await tool_of(plain)(context(), OSLO)
    if not isinstance(stop, asyncio.CancelledError):
        with pytest.raises(RuntimeError):
            await tool_of(awaited)(context(), OSLO)


def plain_asks(self: BaseTool, _ask: Any, _react: Any, **kwargs: Any) -> str:
    said = _ask("Really?")
    how = "true" if said else "false"
    return f"{how} {said} {said == 'yes'} {said.strip().lower()} {_react('👍')}"


async def async_asks(self: BaseTool, _ask: Any, _react: Any, **kwargs: Any) -> str:
    said = await _ask("Really?")
    how = "true" if said else "false"
    return f"{how} {said} {said == 'yes'} {said.strip().lower()} {await _react('👍')}"


@pytest.mark.parametrize("execute", [plain_asks, async_asks], ids=["plain", "async"])
async def test_callbacks_from_plain_and_async_code(execute: Any) -> None:
    tool, wall = tool_of(execute), Wall()
    for word, said in ((True, "true yes True yes True"), (False, "false no False no True")):
        ann = Ann(word)
        assert await tool(context(human=ann, channel=wall), OSLO) == said
        assert ann.asked == ["Really?"]
    assert await tool(context(human=Ann(), channel=wall), OSLO) == "true yes True yes False"
    assert wall.emoji == ["👍", "👍"], "a third is not possible, and breaks nothing off"
    assert await tool(context(), OSLO) == "false no False no False", "nobody to ask, no room"


async def test_an_answer_that_is_not_awaited_is_never_a_yes() -> None:
    async def forgets(self: BaseTool, _ask: Any, **kwargs: Any) -> str:
        return "did it" if _ask("Really?") else "did not"

    async def compares(self: BaseTool, _ask: Any, **kwargs: Any) -> str:
        return "did it" if _ask("Really?") in (True, "yes") else "did not"

    with pytest.raises(TypeError, match="write `await _ask"):
        await tool_of(forgets)(context(human=Ann()), OSLO)
    assert await tool_of(compares)(context(human=Ann()), OSLO) == "did not"


async def test_async_code_may_ask_from_a_thread_of_its_own() -> None:
    async def execute(self: BaseTool, _ask: Any, **kwargs: Any) -> str:
        return str(await asyncio.to_thread(_ask, "Really?"))

    assert await tool_of(execute)(context(human=Ann()), OSLO) == "yes"


async def test_a_call_that_is_cut_hears_no() -> None:
    """The thread goes on, since nothing can stop it; whatever it asks then is answered with no."""
    heard: list[str] = []
    over, ann = threading.Event(), Ann()
    ann.may.clear()

    def execute(self: BaseTool, _ask: Any, **kwargs: Any) -> str:
        heard.append(_ask("Now?"))
        heard.append(_ask("And now?"))
        over.set()
        return ""

    call = asyncio.create_task(tool_of(execute)(context(human=ann), OSLO))
    await ann.heard.wait()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    ann.may.set()
    assert await asyncio.to_thread(over.wait, 5)
    assert heard == ["no", "no"] and ann.asked == ["Now?"]


async def test_what_a_call_leaves_behind_can_ask_no_more() -> None:
    late: list[Any] = []
    tool = tool_of(lambda self, _ask, **kw: late.append(_ask))
    ann = Ann()
    await tool(context(human=ann), OSLO)
    assert not await late[0]("Still here?") and not await asyncio.to_thread(late[0], "Here?")
    assert ann.asked == []


class Noted(BaseTool):
    """Keeps a note in the folder that its constructor is given."""

    built: list[str] = []  # noqa: RUF012

    def __init__(
        self, workspace_dir: str, agent: str, timezone: object, other: int = 3, *more: int
    ) -> None:
        super().__init__("noted", f"For {agent} in {timezone}, {other}.")
        self.folder = workspace_dir
        time.sleep(0.01)
        self.built.append(agent)

    def execute(self) -> str:
        return self.folder


async def test_each_agent_has_an_instance_of_its_own(tmp_path: Path) -> None:
    settings = config.load(write(tmp_path, GOOD))
    Noted.built.clear()
    tool = made(Noted, About(Workspaces(settings), "memtrix", UTC))
    assert tool.spec.description == "For memtrix in UTC, 3."
    agents = ["memtrix", "dennis", "eva"] * 20
    folders = await asyncio.gather(*(tool(context(agent), {}) for agent in agents))
    expected = {"memtrix": tmp_path / "workspace"}
    expected |= {name: tmp_path / "agents" / name for name in ("dennis", "eva")}
    assert folders == [str(expected[agent]) for agent in agents]
    assert sorted(Noted.built) == ["dennis", "eva", "memtrix"]
