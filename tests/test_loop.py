"""The loop over values: rounds, parallel calls, and a model that lies."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from memtrix_as.agent import loop
from memtrix_as.errors import LostTurn, ToolError, Unanswered
from memtrix_as.messages import Delta, Message, Place, Reply, ToolCall, ToolSpec
from memtrix_as.tool import Leave, Tool, ToolContext, tool
from memtrix_as.tools.clock import get_current_time

CTX = ToolContext(Place("!r", "memtrix"), "@ann:hs", "$1", None)  # type: ignore[arg-type]
RAN: list[str] = []


@tool(alone=True)
async def alone(ctx: ToolContext, what: str) -> str:
    """Do something by itself.

    Args:
        what: anything"""
    RAN.append(f"begin {what}")
    await asyncio.sleep(0)
    RAN.append(f"end {what}")
    return what


@tool()
async def together(what: str) -> str:
    """Do something beside others.

    Args:
        what: anything"""
    RAN.append(f"begin {what}")
    await asyncio.sleep(0.01)
    RAN.append(f"end {what}")
    return what


@tool()
async def refuses() -> str:
    """Refuse."""
    raise ToolError("not today")


@tool()
async def crashes() -> str:
    """Crash."""
    raise RuntimeError("the secret inside")


TOOLS: dict[str, Tool] = {t.name: t for t in (alone, together, refuses, crashes, get_current_time)}


class Scripted:
    """Says one message after the other, and notes which tools it was offered."""

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)
        self.offered: list[int] = []

    async def stream(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> AsyncIterator[Delta | Reply]:
        self.offered.append(len(tools))
        message = self.messages.pop(0) if len(self.messages) > 1 else self.messages[0]
        if message.text:
            yield Delta(message.text)
        yield Reply(message)


def calls(*names: str, **arguments: str) -> Message:
    asked = [ToolCall(f"c{n}", name, arguments) for n, name in enumerate(names)]
    return Message("assistant", calls=tuple(asked))


async def run(
    model: Scripted, history: list[Message] | None = None, rounds: int = 3, no: str | None = None
) -> list[Message]:
    async def gate(call: ToolCall, tool: Tool) -> str | None:
        return no

    RAN.clear()
    steps = loop.run(
        model, history or [Message("user", "go")], TOOLS, CTX, gate, lambda _: None, rounds
    )
    return [reply.message async for reply in steps]


async def test_it_ends_with_the_first_answer_without_calls() -> None:
    said = await run(Scripted(calls("get_current_time"), Message("assistant", "Noon.")))
    assert [m.role for m in said] == ["assistant", "tool", "assistant"]
    assert not said[1].failed and said[1].call_id == "c0"


async def test_a_model_that_never_stops_calling_is_asked_for_an_answer_and_believed() -> None:
    model = Scripted(calls("get_current_time"))
    said = await run(model, rounds=3)
    assert model.offered == [5, 5, 5, 0]
    assert not said[-1].calls, "calls of tools that were not offered are taken for none"


async def test_what_was_agreed_stands_in_the_context_of_that_call_alone() -> None:
    seen: dict[str, str | None] = {}

    @tool()
    async def look(ctx: ToolContext) -> str:
        """Look."""
        seen[ctx.call_id] = ctx.agreed
        return "seen"

    async def gate(call: ToolCall, tool: Tool) -> Leave | None:
        return {"c0": Leave("It replaces a."), "c1": Leave()}.get(call.id)

    model = Scripted(calls("look", "look", "look"), Message("assistant", "Done."))
    history = [Message("user", "go")]
    async for _ in loop.run(model, history, {"look": look}, CTX, gate, lambda _: None, 3):
        pass
    assert seen == {"c0": "It replaces a.", "c1": None, "c2": None}


async def test_rounds_that_were_before_a_crash_count() -> None:
    model = Scripted(Message("assistant", "Done."))
    history = [Message("user", "go")]
    for _ in range(3):
        history += [calls("get_current_time"), Message("tool", "noon", call_id="c0")]
    await run(model, history, rounds=3)
    assert model.offered == [0]


async def test_a_history_that_ends_in_calls_runs_those_that_have_no_result() -> None:
    history = [Message("user", "go"), calls("together", "get_current_time", what="x")]
    history.append(Message("tool", "x", call_id="c0"))
    said = await run(Scripted(Message("assistant", "Done.")), history)
    assert [m.call_id for m in said] == ["c1", None] and RAN == []


async def test_calls_run_beside_each_other_but_for_those_that_must_not() -> None:
    model = Scripted(
        calls("together", "together", "alone", "alone", what="x"), Message("assistant", "ok")
    )
    said = await run(model)
    assert RAN[:2] == ["begin x", "begin x"]
    assert RAN[4:] == ["begin x", "end x"] * 2
    assert [m.call_id for m in said[1:5]] == ["c0", "c1", "c2", "c3"]


async def test_what_goes_wrong_in_a_tool_is_told_to_the_model() -> None:
    bad = Message("assistant", calls=(ToolCall("c9", "together", {}, "its arguments were cut"),))
    model = Scripted(calls("refuses", "crashes", "nothing"), calls("together", wrong="x"), bad,
                     Message("assistant", "ok"))  # fmt: skip
    said = await run(model, rounds=9)
    failed = [m.text for m in said if m.failed]
    assert failed[0] == "not today"
    assert "crashed" in failed[1] and "secret" not in failed[1]
    assert "no tool 'nothing'" in failed[2] and "get_current_time" in failed[2]
    assert "what: Field required" in failed[3]
    assert "were cut" in failed[4]


async def test_the_gate_answers_in_place_of_a_tool() -> None:
    said = await run(Scripted(calls("together", what="x"), Message("assistant", "ok")), no="no!")
    assert said[1].text == "no!" and said[1].failed and RAN == []


async def test_what_waits_for_a_human_ends_the_run_and_the_rest_goes_on() -> None:
    """The history ends with the call unanswered; with its answer, the same call goes on."""
    RAN.clear()
    asking = Scripted(calls("alone", "together", what="x"), Message("assistant", "ok"))
    history = [Message("user", "do both")]
    waits = True

    async def gate(call: ToolCall, tool: Tool) -> str | None:
        if tool.name == "alone" and waits:
            raise Unanswered("later")
        return None

    async def more() -> list[Message]:
        steps = loop.run(asking, history, TOOLS, CTX, gate, lambda delta: None, 10)
        return [reply.message async for reply in steps]

    first = await more()
    assert [m.call_id for m in first] == [None, "c1"]
    assert RAN == ["begin x", "end x"]
    assert len(asking.offered) == 1, "the model is not asked while a call waits"
    waits = False
    second = await more()
    assert [m.call_id or m.text for m in second] == ["c0", "ok"]


async def test_a_turn_that_is_lost_ends_when_nothing_runs_any_more() -> None:
    RAN.clear()

    async def gate(call: ToolCall, tool: Tool) -> str | None:
        if call.id == "c0":
            raise LostTurn("gone")
        return None

    model, history = Scripted(calls("together", "together", what="x")), [Message("user", "do it")]
    with pytest.raises(LostTurn):
        async for _ in loop.run(model, history, TOOLS, CTX, gate, lambda delta: None, 10):
            pass
    assert RAN == ["begin x", "end x"]
