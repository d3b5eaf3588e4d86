"""Any server that speaks OpenAI's protocol; the other providers are variations of it."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx2
import openai

from memtrix_as.errors import (
    ModelBroken,
    ModelEmpty,
    ModelError,
    ModelQuota,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
)
from memtrix_as.messages import Delta, Message, Reply, ToolCall, Usage
from memtrix_as.providers.base import BaseProvider, Request

log = logging.getLogger(__name__)

TRIES = 4
IDLE = 120.0  # seconds without a piece of the answer
LONGEST_WAIT = 30.0  # seconds between two tries


class OpenAICompatible(BaseProvider):
    """Chat completions, always streamed."""

    type: ClassVar[str] = "openai_compatible"

    def __init__(self, base_url: str, api_key: str = "") -> None:
        url = base_url.rstrip("/")
        self._url = url if url.count("/") > 2 else f"{url}/v1"
        # trust_env off: a proxy from the environment would read every conversation.
        self._client = openai.AsyncOpenAI(
            base_url=self._url,
            api_key=api_key or "none",
            max_retries=0,
            http_client=httpx2.AsyncClient(
                trust_env=False, limits=httpx2.Limits(max_connections=None), timeout=IDLE
            ),
        )

    async def stream(self, request: Request) -> AsyncIterator[Delta | Reply]:
        begun = False
        for attempt in range(1, TRIES + 1):
            try:
                async for piece in self._ask(request):
                    begun = True
                    yield piece
                return
            except ModelError as exc:
                wait = _worth_repeating(exc, attempt)
                if begun or wait is None:
                    raise
                log.warning("%s; trying again in %.1f s", exc, wait)
            await asyncio.sleep(wait)

    async def _ask(self, request: Request) -> AsyncIterator[Delta | Reply]:
        answer = _Answer()
        try:
            async with asyncio.timeout(request.timeout):
                stream = await self._client.chat.completions.create(**self._body(request))
                async with stream:
                    async for chunk in stream:
                        delta = answer.add(chunk)
                        if delta.text or delta.reasoning:
                            yield delta
        except (TimeoutError, openai.APITimeoutError) as exc:
            raise ModelTimeout(f"The model at {self._url} took too long to answer.") from exc
        except openai.APIConnectionError as exc:
            raise ModelUnreachable(
                f"The model server at {self._url} does not answer; is it running?"
            ) from exc
        except openai.APIStatusError as exc:
            raise self._told(exc) from exc
        except (openai.APIError, httpx2.HTTPError, json.JSONDecodeError) as exc:
            raise ModelBroken(f"The model's answer broke off: {_cut(str(exc))}") from exc
        yield answer.reply()

    def _body(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [_wire(m) for m in request.messages],
            "temperature": request.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.max_tokens:
            body["max_tokens"] = request.max_tokens
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": t.name,
                        "description": t.description,
                        "parameters": t.parameters,
                    },
                }
                for t in request.tools
            ]
        return body

    def _told(self, exc: openai.APIStatusError) -> ModelError:
        said = _cut(exc.message)
        status = exc.status_code
        if status in {401, 403}:
            return ModelRefused(f"The model provider does not accept our key ({status}): {said}")
        if status in {402, 429}:
            return ModelQuota(f"The model provider's limit is reached ({status}): {said}")
        if status >= 500 or status == 408:
            return ModelBroken(f"The model provider has a problem ({status}): {said}")
        return ModelRefused(f"The model provider refused the request ({status}): {said}")

    async def models(self) -> list[str]:
        try:
            return [m.id async for m in self._client.models.list()]
        except openai.APIStatusError as exc:
            raise self._told(exc) from exc
        except openai.APIError as exc:
            raise ModelUnreachable(f"The model server at {self._url} does not answer.") from exc

    async def close(self) -> None:
        await self._client.close()


@dataclass
class _Answer:
    """An answer being put together."""

    text: str = ""
    reasoning: str = ""
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    usage: Usage = Usage()
    finish: str | None = None

    def add(self, chunk: Any) -> Delta:
        if chunk.usage:
            cost = (chunk.usage.model_extra or {}).get("cost")
            self.usage = Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens, cost)
        if not chunk.choices:
            return Delta()
        choice = chunk.choices[0]
        self.finish = choice.finish_reason or self.finish
        delta = choice.delta
        extra = delta.model_extra or {}
        reasoning = extra.get("reasoning") or extra.get("reasoning_content") or ""
        text = delta.content or ""
        self.text += text
        self.reasoning += reasoning
        for call in delta.tool_calls or ():
            index = len(self.calls) if call.index is None else call.index
            known = self.calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
            known["id"] = call.id or known["id"]
            if call.function:
                known["name"] += call.function.name or ""
                known["arguments"] += call.function.arguments or ""
        return Delta(text, reasoning)

    def reply(self) -> Reply:
        if self.finish is None:
            raise ModelBroken("The model's answer broke off in the middle.")
        if not self.text.strip() and not self.calls:
            raise ModelEmpty(
                "The model returned an empty answer. Ask again, or put it differently."
            )
        calls = tuple(
            _call(n, c, self.finish == "length") for n, c in enumerate(self.calls.values())
        )
        return Reply(Message("assistant", self.text, self.reasoning, calls), self.usage)


def _call(number: int, raw: Mapping[str, str], cut: bool) -> ToolCall:
    call_id = raw["id"] or f"call_{number}"
    try:
        arguments = json.loads(raw["arguments"] or "{}")
    except json.JSONDecodeError as exc:
        why = "they were cut off" if cut else f"they are not JSON: {exc}"
        return ToolCall(call_id, raw["name"], {}, f"its arguments could not be read, {why}")
    if not isinstance(arguments, dict):
        return ToolCall(call_id, raw["name"], {}, "its arguments must be a JSON object")
    return ToolCall(call_id, raw["name"], arguments)


def _wire(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.calls:
        wire["content"] = message.text or None
        wire["tool_calls"] = [
            {
                "id": c.id,
                "type": "function",
                "function": {"name": c.name, "arguments": json.dumps(dict(c.arguments))},
            }
            for c in message.calls
        ]
    if message.role == "tool":
        wire["tool_call_id"] = message.call_id
    return wire


def _worth_repeating(exc: ModelError, attempt: int) -> float | None:
    """Seconds to wait before another try, None when there is no sense in one."""
    if attempt >= TRIES or not isinstance(exc, ModelBroken | ModelUnreachable | ModelQuota):
        return None
    return float(min(0.5 * 2 ** (attempt - 1), LONGEST_WAIT) * random.uniform(0.8, 1.2))


def _cut(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + " …"
