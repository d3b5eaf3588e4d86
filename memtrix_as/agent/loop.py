"""The loop: model, tools, model, … until the model answers. No chat and no database."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Protocol

from memtrix_as.agent import marking
from memtrix_as.config import redact
from memtrix_as.errors import LostTurn, ToolError, Unanswered
from memtrix_as.messages import Delta, Message, Reply, ToolCall, ToolSpec
from memtrix_as.tool import Leave, Outside, Tool, ToolContext

log = logging.getLogger(__name__)


class Model(Protocol):
    """A language model that streams its answer: deltas, then one Reply."""

    def stream(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> AsyncIterator[Delta | Reply]: ...


class Gate(Protocol):
    """Decides about a call before it runs; a string is the answer in place of a result.

    None is leave for a call that nobody was asked about.

    Unanswered when somebody else has to decide: the loop then ends as soon as the other calls ran.
    """

    async def __call__(self, call: ToolCall, tool: Tool) -> str | Leave | None: ...


async def run(
    model: Model,
    history: list[Message],
    tools: Mapping[str, Tool],
    ctx: ToolContext,
    gate: Gate,
    feed: Callable[[Delta], None],
    rounds: int,
) -> AsyncIterator[Reply]:
    """Yield every new message once it is final; the caller stores it before asking for the next.

    `history` may end in calls without results, which run first: a fresh turn, one resumed after
    a crash and one resumed after an approval are the same call. After `rounds` rounds of tools
    the model is asked once more without any, so that the human gets an answer. When a call waits
    for a human, the history ends with it unanswered.
    """
    done = _rounds(history)
    while True:
        waiting = False
        for group in _batches(unanswered(history), tools):
            running = [_execute(call, tools, ctx, gate) for call in group]
            for result in await asyncio.gather(*running, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result  # the turn is not ours any more; and nothing is left running
                if result is None:
                    waiting = True
                    continue
                # Before anybody sees it: what a tool brings may hold a key of ours.
                message = replace(result.message, text=redact(result.message.text))
                history.append(message)
                yield replace(result, message=message)
        if waiting or history[-1].role == "assistant":
            return
        offered = [t.spec for t in tools.values()] if done < rounds else []
        async for piece in model.stream(history, offered):
            if isinstance(piece, Delta):
                feed(piece)
            else:
                if not offered and piece.message.calls:
                    # A model that calls what it was not offered would go on for ever.
                    piece = replace(piece, message=replace(piece.message, calls=()))
                history.append(piece.message)
                yield piece
        done += 1


def _rounds(history: Sequence[Message]) -> int:
    """How many rounds of tools the turn at the end of the history has had."""
    done = 0
    for message in reversed(history):
        if message.role == "user":
            break
        done += message.role == "assistant"
    return done


def unanswered(history: Sequence[Message]) -> list[ToolCall]:
    """Calls of the last assistant message without a result; ids are unique within one message."""
    answered: set[str | None] = set()
    for message in reversed(history):
        if message.role != "tool":
            return [c for c in message.calls if c.id not in answered]
        answered.add(message.call_id)
    return []


def _batches(calls: Sequence[ToolCall], tools: Mapping[str, Tool]) -> list[list[ToolCall]]:
    """Neighbouring calls that may run together; a tool marked `alone` is a group of its own."""

    def group(numbered: tuple[int, ToolCall]) -> int:
        number, call = numbered
        known = tools.get(call.name)
        return number if known and known.alone else -1

    return [[call for _, call in calls] for _, calls in groupby(enumerate(calls), group)]


async def _execute(
    call: ToolCall, tools: Mapping[str, Tool], ctx: ToolContext, gate: Gate
) -> Reply | None:
    """The result of a call, and how long it took; None while a human has to decide about it."""
    begun = time.monotonic()
    result = await _result(call, tools, ctx, gate)
    return Reply(result, seconds=time.monotonic() - begun) if result else None


async def _result(
    call: ToolCall, tools: Mapping[str, Tool], ctx: ToolContext, gate: Gate
) -> Message | None:
    try:
        if call.problem:
            raise ToolError(f"{call.name} was not run: {call.problem}")
        known = tools.get(call.name)
        if known is None:
            raise ToolError(f"There is no tool {call.name!r}. There are: {', '.join(tools)}.")
        decided = await gate(call, known)
        if isinstance(decided, str):
            return Message("tool", decided, call_id=call.id, failed=True)
        agreed = decided.agreed if decided else None
        result = await known(replace(ctx, call_id=call.id, agreed=agreed), call.arguments)
        if isinstance(result, Outside):
            return Message("tool", result, call_id=call.id, outside=marking.source(call))
        if not known.untrusted:
            return Message("tool", result, call_id=call.id)
        source = marking.source(call)
        return Message("tool", marking.mark(result, source), call_id=call.id, outside=source)
    except Unanswered:
        return None
    except LostTurn:
        raise
    except ToolError as exc:
        return Message("tool", str(exc), call_id=call.id, failed=True)
    except Exception:  # one tool call: the model is told, the turn goes on
        log.exception("The tool %s crashed", call.name)
        text = f"{call.name} crashed; the details are in the log of the service."
        return Message("tool", text, call_id=call.id, failed=True)
