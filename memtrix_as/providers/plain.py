"""Providers that answer in one piece: what a `completions` takes and what it may return."""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

from memtrix_as.errors import ModelBroken, ModelError, ModelTimeout
from memtrix_as.foreign import in_thread
from memtrix_as.messages import Delta, Reply
from memtrix_as.providers import wire
from memtrix_as.providers.answer import Answer
from memtrix_as.providers.base import BaseProvider, Request
from memtrix_as.providers.failures import Teller

log = logging.getLogger(__name__)

FIELDS = ("content", "refusal", "reasoning", "reasoning_content", "thinking")  # of a message
USAGE = ("prompt_tokens", "completion_tokens", "cost")


class Plain(BaseProvider):
    """Lets a provider that has `completions` answer like one that streams."""

    def __init__(self, provider: BaseProvider, name: str) -> None:
        super().__init__(name)
        self._provider = provider
        parameters = inspect.signature(provider.completions).parameters
        self._takes = set(parameters)
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            self._takes.add("tools")

    async def stream(self, request: Request) -> AsyncIterator[Delta | Reply]:
        try:
            async with asyncio.timeout(request.timeout) as deadline:
                chunk = self._chunk(await self._returned(request))
        except ModelError:
            raise
        except Exception as exc:  # whatever a stranger's client raises is told in one sentence
            if isinstance(exc, TimeoutError) and deadline.expired():  # and it was not its own
                raise ModelTimeout(
                    f'The provider "{self.name}" did not answer within {request.timeout:g} seconds.'
                ) from exc
            log.exception("The provider %s failed", self.name)
            said = Teller("").cleaned({"message": str(exc)}).rstrip(".")
            told = f"{type(exc).__name__}: {said}" if said else type(exc).__name__
            broken = ModelBroken(f'The provider "{self.name}" failed ({told}).')
            broken.said = said
            raise broken from exc
        answer = Answer([tool.name for tool in request.tools], _taken(request))
        shown = answer.feed(chunk)
        last, reply = answer.finish()
        for delta in (shown, last):
            if delta.text or delta.reasoning:
                yield delta
        yield reply

    async def models(self) -> list[str]:
        return await self._provider.models()

    async def longest(self, model: str) -> int | None:
        return await self._provider.longest(model)

    async def close(self) -> None:
        await self._provider.close()

    async def _returned(self, request: Request) -> Any:
        known = {
            "tools": wire.tools(request.tools) or None,
            "think": request.think,
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            "timeout": request.timeout,
        }
        given: dict[str, Any] = {key: known[key] for key in known if key in self._takes}
        call = partial(
            self._provider.completions, request.model, wire.messages(request.messages), **given
        )
        if inspect.iscoroutinefunction(self._provider.completions):
            return await call()
        returned = await in_thread(call)
        return await returned if inspect.isawaitable(returned) else returned

    def _chunk(self, returned: Any) -> dict[str, Any]:
        """What was returned, as a server would send it in one piece."""
        whole, reason = returned, None
        if choices := _get(returned, "choices"):  # a whole response, and not its message
            whole, reason = _get(choices[0], "message"), _get(choices[0], "finish_reason")
        elif (inner := _get(returned, "message")) is not None:  # Ollama's
            whole, reason = inner, _get(returned, "done_reason")
        if isinstance(whole, str):
            message: dict[str, Any] = {"content": whole}
        else:
            message = {key: _get(whole, key) for key in FIELDS}
            message["tool_calls"] = [_call(c) for c in _get(whole, "tool_calls") or ()]
            if not any(message.values()) and not _is_message(whole):
                kind = type(returned).__name__
                raise ModelBroken(f'The provider "{self.name}" returned no message but a {kind}.')
        usage = _get(returned, "usage")
        used = {key: _get(usage, key) for key in USAGE} if usage else {
            "prompt_tokens": _get(returned, "prompt_eval_count"),
            "completion_tokens": _get(returned, "eval_count"),
        }  # fmt: skip
        return {
            "choices": [{"message": message, "finish_reason": reason or "stop"}],
            "usage": used,
        }


def _call(call: Any) -> dict[str, Any]:
    """A call, also where name and arguments are not in a `function` of their own."""
    function = _get(call, "function") or call
    named = {key: _get(function, key) for key in ("name", "arguments")}
    return {"id": _get(call, "id"), "function": named}


def _get(thing: Any, key: str) -> Any:
    return thing.get(key) if isinstance(thing, Mapping) else getattr(thing, key, None)


def _is_message(thing: Any) -> bool:
    return "content" in thing if isinstance(thing, Mapping) else hasattr(thing, "content")


def _taken(request: Request) -> set[str]:
    return {call.id for message in request.messages for call in message.calls}
