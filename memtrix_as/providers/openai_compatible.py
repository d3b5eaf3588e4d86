"""Any server that speaks OpenAI's protocol; the other providers are variations of it."""

import asyncio
import json
import logging
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import httpx2
import openai

from memtrix_as.errors import ConfigError, ModelBroken, ModelEmpty, ModelError, ModelRefused
from memtrix_as.messages import Delta, Message, Reply, ToolSpec, Usage
from memtrix_as.providers import transport, wire
from memtrix_as.providers.answer import Answer
from memtrix_as.providers.base import BaseProvider, Request
from memtrix_as.providers.failures import Failure, Teller

log = logging.getLogger(__name__)

TRIES = 4
FIRST_WAIT = 0.5  # seconds before the second try, doubled for each further
LONGEST_WAIT = 30.0  # seconds; a server that asks for more is not waited for
IDLE = 120.0  # seconds between two pieces of an answer
TAIL = 5.0  # seconds for what may follow the end of an answer, such as the usage
LISTING = 30.0  # seconds
JSON = {"Content-Type": "application/json"}

_UNSUPPORTED = "support|unrecogni|unknown|unexpected|permitted|extra|allowed|mandatory|invalid"
# Parts of a request that some servers refuse: what their complaint speaks of, and what it says.
_REFUSALS = {
    "tools": (
        r"\btools?\b|\btool[_ -]",
        r"(?:not|n't|un)[ -]?support|that support|jinja|auto-tool",
    ),
    "stream_options": ("stream_options", _UNSUPPORTED),
    "temperature": ("temperature", _UNSUPPORTED),
    "max_tokens": ("max_tokens", _UNSUPPORTED),
    "reasoning_effort": ("think|reasoning", _UNSUPPORTED),
    "reasoning": ("think|reasoning", _UNSUPPORTED),
}
_PEG = "does not match the expected peg"  # llama.cpp could not parse what its model wrote


@dataclass
class _Course:
    """What has been tried for one request."""

    tries: int = 0
    empty: int = 0
    unparsed: int = 0
    answer: Answer | None = None  # of the try that runs
    lost: Usage = field(default_factory=Usage)  # what answers took that came to nothing
    sent: frozenset[str] = field(default_factory=frozenset)  # the keys of the last request

    def lose(self, error: ModelError) -> None:
        """Note what the try has taken that ended in this error, and in the error what all took."""
        if self.answer:
            self.lost += self.answer.usage
            self.answer = None
        lost = self.lost
        error.prompt_tokens, error.completion_tokens = lost.prompt_tokens, lost.completion_tokens
        error.cost = lost.cost

    def retry_in(self, failure: Failure) -> float | None:
        """Seconds until another try; None when there is no sense in one."""
        if _PEG in failure.said:
            self.unparsed += 1
            return 0.0 if self.unparsed == 1 or "tools" in self.sent else None
        if isinstance(failure.error, ModelEmpty):
            self.empty += 1
            return 0.0 if self.empty == 1 else None
        self.tries += 1
        if not failure.retry or self.tries >= TRIES:
            return None
        if failure.after is not None:
            return failure.after if failure.after <= LONGEST_WAIT else None
        return float(FIRST_WAIT * 2 ** (self.tries - 1) * random.uniform(0.8, 1.2))


class OpenAICompatible(BaseProvider):
    """Chat completions, always streamed."""

    type: ClassVar[str] = "openai_compatible"
    hints: ClassVar[Mapping[int, str]] = {  # the way out, by HTTP status
        404: "If it should, check the path in `base_url`, which often is /v1."
    }

    def __init__(
        self, base_url: str, api_key: str = "", proxy: str = "", idle_timeout: float = IDLE
    ) -> None:
        """An address without a path gets /v1; `idle_timeout` is seconds between two pieces."""
        api_key = api_key.strip()
        if not api_key.isascii():
            raise ConfigError("api_key: has characters that no key has")
        url = base_url.rstrip("/")
        self._idle = idle_timeout
        self._url = url if url.count("/") > 2 else f"{url}/v1"
        self._teller = Teller.of(self._url, api_key, self.hints)
        self._refused: dict[str, set[str]] = {}  # model -> keys that its server does not take
        self._http = transport.client(proxy, with_key=bool(api_key))
        self._client = openai.AsyncOpenAI(
            base_url=self._url,
            api_key=api_key or "none",  # None would mean OPENAI_API_KEY of the environment
            max_retries=0,
            http_client=self._http,
        )

    async def stream(self, request: Request) -> AsyncIterator[Delta | Reply]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + request.timeout
        course = _Course()
        while True:
            begun = False
            try:
                async with aclosing(self._attempt(request, course, deadline)) as pieces:
                    async for piece in pieces:
                        begun = True
                        if isinstance(piece, Reply):
                            piece = replace(piece, usage=course.lost + piece.usage)
                        yield piece
                return
            except Failure as failure:
                course.lose(failure.error)
                wait = None if begun else self._again(failure, request.model, course)
                if wait is None or clock() + wait >= deadline:
                    raise failure.error from failure
                log.info("%s (%s) Asking again in %.1f s", failure.error, request.model, wait)
            await asyncio.sleep(wait)

    async def models(self) -> list[str]:
        return [str(model["id"]) for model in await self._listing()]

    async def longest(self, model: str) -> int | None:
        listed = next((each for each in await self._listing() if each["id"] == model), {})
        meta = listed.get("meta")
        told = [
            listed.get("context_length"),  # OpenRouter
            listed.get("max_model_len"),  # vLLM
            meta.get("n_ctx_train") if isinstance(meta, Mapping) else None,  # llama.cpp
        ]
        return next((n for n in told if isinstance(n, int) and n > 0), None)

    async def _listing(self) -> list[Mapping[str, Any]]:
        try:
            listing = await self._request("GET", f"{self._url}/models", None)
        except Failure as failure:
            raise failure.error from failure
        models = listing.get("data") if isinstance(listing, Mapping) else None
        if not isinstance(models, list):
            raise ModelBroken(f"{self._teller.address} does not say which models it has.")
        return [m for m in models if isinstance(m, Mapping) and "id" in m]

    async def close(self) -> None:
        await self._client.close()

    async def _body(self, request: Request) -> dict[str, Any]:
        """What the request says; subclasses add what their servers know."""
        body: dict[str, Any] = {
            "model": request.model,
            "messages": wire.messages(request.messages),
            "stream": True,
            "stream_options": {"include_usage": True},
            # always told: without it Ollama takes 1.0, whatever the model's own setting
            "temperature": request.temperature,
        }
        if request.max_tokens:
            body["max_tokens"] = request.max_tokens
        if request.tools:
            body["tools"] = request.tools
        return body

    async def _attempt(
        self, request: Request, course: _Course, deadline: float
    ) -> AsyncGenerator[Delta | Reply]:
        """Ask once. Raises Failure."""
        clock = asyncio.get_running_loop().time
        begun = False
        try:
            async with asyncio.timeout_at(deadline):
                body = await self._body(request)
                self._leave_out(body, request.model, course)
                tools: Sequence[ToolSpec] = body.pop("tools", ())
                names = [spec.name for spec in tools]
                answer = course.answer = Answer(names, _taken(request.messages))
                # Bytes at once: many at a time wait for their answer, with all that was said.
                written = wire.written(body, tools)
                del body
                stream = await self._client.post(
                    "/chat/completions",
                    content=written,
                    options={"headers": JSON},
                    # dicts as they came, since models of chunks cost more time than all the rest
                    cast_to=object,
                    stream=True,
                    stream_cls=transport.Stream,
                )
            async with stream:
                chunks = aiter(await self._chunks(stream, deadline))
                while True:
                    # The time spent by whoever reads this is not the model's: no timeout may be
                    # open while a piece is handed out. Before the first piece a slow machine may
                    # load the model and read a long prompt for minutes.
                    idle = TAIL if answer.finish_reason else self._idle
                    limit = min(deadline, clock() + idle) if begun else deadline
                    chunk = await _next(chunks, answer, limit)
                    if chunk is None:
                        break
                    begun = True
                    delta = answer.feed(chunk)
                    if delta.text or delta.reasoning:
                        yield delta
            if answer.error:
                raise self._teller.reported(answer.error, request.model)
            last, reply = answer.finish()
        except TimeoutError as exc:
            late = clock() >= deadline
            told = self._teller
            raise (
                told.too_late(request.timeout, begun) if late else told.fell_silent(self._idle)
            ) from exc
        except (ModelBroken, ModelEmpty) as exc:
            raise Failure(exc, retry=True) from exc
        except (
            *(openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError),
            *(ValueError, RecursionError),  # what the answer is, or is not
        ) as exc:
            raise self._teller.tell(exc, request.model) from exc
        if last.text or last.reasoning:
            yield last
        yield reply

    async def _chunks(
        self, stream: openai.AsyncStream[object], deadline: float
    ) -> AsyncIterator[object]:
        """The chunks, also of a server that answers in one piece though asked to stream."""
        kind = stream.response.headers.get("content-type", "")
        if "html" in kind:
            raise Failure(
                ModelRefused(
                    f"{self._teller.address} answers with a web page and not as a model server; "
                    "check the path in `base_url`, which often is /v1."
                )
            )
        if "json" not in kind or "stream" in kind or "ndjson" in kind:
            return aiter(stream)
        async with asyncio.timeout_at(deadline):
            body = transport.bounded(stream.response.aiter_bytes())
            return _one(json.loads(b"".join([piece async for piece in body])))

    def _leave_out(self, body: dict[str, Any], model: str, course: _Course) -> None:
        for key in self._refused.get(model, ()):
            body.pop(key, None)
        if course.unparsed >= 2:
            body.pop("tools", None)
        course.sent = frozenset(body)

    def _again(self, failure: Failure, model: str, course: _Course) -> float | None:
        """Seconds until another try, which leaves out what the server said it does not take."""
        if failure.status in (400, 404, 422, 500, 501):
            for key, (subject, complaint) in _REFUSALS.items():
                if (
                    key in course.sent
                    and re.search(subject, failure.said, re.IGNORECASE)
                    and re.search(complaint, failure.said, re.IGNORECASE)
                    and "schema" not in failure.said  # of one tool, not of all of them
                ):
                    log.warning("%s refuses %r, so it is left out", model, key)
                    log.debug("%s said: %s", model, failure.said)
                    self._refused.setdefault(model, set()).add(key)
                    return 0.0
        return course.retry_in(failure)

    async def _request(self, method: str, url: str, body: Any, timeout: float = LISTING) -> Any:
        """Parsed JSON from beside the chat. Raises Failure."""
        auth = {"Authorization": f"Bearer {self._client.api_key}"}
        model = str(body.get("model", "")) if isinstance(body, Mapping) else ""
        try:
            async with asyncio.timeout(timeout):
                response = await self._http.request(method, url, json=body, headers=auth)
            if response.is_success:
                return response.json()
        except TimeoutError as exc:
            raise self._teller.too_late(timeout, False) from exc
        except (httpx2.HTTPError, ValueError) as exc:
            raise self._teller.tell(exc, model) from exc
        try:
            said = response.json()
        except ValueError:
            said = response.text
        raise self._teller.status(response.status_code, said, model, response.headers)


async def _next(chunks: AsyncIterator[object], answer: Answer, limit: float) -> object:
    """The next chunk, None after the last. A cut after the end of the answer is no loss.

    Nor is it when a server keeps the connection open then.
    """
    try:
        async with asyncio.timeout_at(limit):
            return await anext(chunks, None)
    except (openai.APIConnectionError, TimeoutError):
        if answer.finish_reason:
            return None
        raise


async def _one(chunk: object) -> AsyncIterator[object]:
    yield chunk


def _taken(history: Sequence[Message]) -> set[str]:
    return {call.id for message in history for call in message.calls}
