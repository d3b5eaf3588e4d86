"""Puts one answer together from the chunks of a stream: text, reasoning, calls and usage."""

from collections.abc import Collection, Mapping
from typing import Any

from memtrix_as.errors import ModelBroken, ModelEmpty
from memtrix_as.messages import Delta, Message, Reply, Usage
from memtrix_as.providers import calls
from memtrix_as.providers.arguments import mend
from memtrix_as.providers.thinking import Splitter
from memtrix_as.providers.written_calls import Holder

MAX_TOKENS = 1_000_000_000
MAX_COST = 1_000_000.0  # US dollars
MAX_LENGTH = 8 << 20  # characters; what a server sends beyond fills memory and no window


class Answer:
    """Feed it chunks as they were parsed; unknown and missing fields are no trouble."""

    def __init__(self, offered: Collection[str], taken: Collection[str] = ()) -> None:
        """`offered`: the names of the tools; `taken`: ids of calls that the history has."""
        self.error: Any = None  # what the provider said went wrong in the middle
        self.finish_reason = ""
        self._offered = offered
        self._taken = taken
        self._splitter = Splitter()
        self._holder = Holder(offered)
        self._rewinds = 0
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._calls = calls.Assembler()
        self.usage = Usage()  # as far as the provider has told it
        self._odd = ""  # the first half of a surrogate pair that a chunk ended with
        self._length = 0

    def feed(self, chunk: Any) -> Delta:
        """What can be shown of it. Raises ModelBroken when an answer has no end."""
        if not isinstance(chunk, Mapping):
            return Delta()
        self.error = chunk.get("error") or self.error
        if isinstance(usage := chunk.get("usage"), Mapping):
            self.usage = _usage(usage)
        choices = chunk.get("choices")  # [] or None beside the usage
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
            return Delta()
        choice = choices[0]
        if isinstance(reason := choice.get("finish_reason"), str):
            self.finish_reason = reason or self.finish_reason
        self.error = choice.get("error") or self.error
        delta = choice.get("delta") or choice.get("message")
        if not isinstance(delta, Mapping):
            return Delta()
        if isinstance(pieces := delta.get("tool_calls"), list):
            self._calls.feed(pieces)
        text, thought = _content(delta)
        self._length += len(text) + len(thought)
        if self._length > MAX_LENGTH:
            raise ModelBroken("The model's answer had no end, so it was stopped.")
        return self._show(text, thought)

    def finish(self) -> tuple[Delta, Reply]:
        """What had been held back, and the whole.

        Raises ModelBroken when the stream was cut, ModelEmpty when nothing was said.
        """
        if not self.finish_reason:
            raise ModelBroken("The model's answer was cut off in the middle.")
        last = self._split(self._splitter.finish())
        held, written = self._holder.finish()
        self._text.append(held)
        cut = self.finish_reason == "length"
        found = [*self._calls.finish(cut), *written]
        text = "".join(self._text)
        if not text.strip():
            text = ""
        reasoning = "\n".join(
            filter(None, ("".join(self._thoughts).strip(), self._splitter.reasoning))
        )
        if not text and not found:
            raise ModelEmpty(self._why_empty(bool(reasoning)))
        settled = calls.settle(found, self._offered, self._taken)
        message = Message("assistant", mend(text), mend(reasoning), settled)
        return Delta(last.text + held, last.reasoning), Reply(message, self.usage)

    def _show(self, text: str, thought: str) -> Delta:
        if text or self._odd:
            text = self._odd + text
            self._odd = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
            text = mend(text[:-1] if self._odd else text)
        thought = mend(thought)
        if thought:
            self._thoughts.append(thought)
        shown = self._split(self._splitter.feed(text)) if text else Delta()
        return Delta(shown.text, thought + shown.reasoning)

    def _split(self, delta: Delta) -> Delta:
        """Let the text through the holder; start again when it turned out to be a thought."""
        if self._splitter.rewinds != self._rewinds:
            self._rewinds = self._splitter.rewinds
            self._text.clear()
            self._holder = Holder(self._offered)
        shown = self._holder.feed(delta.text) if delta.text else ""
        self._text.append(shown)
        return Delta(shown, delta.reasoning)

    def _why_empty(self, thought: bool) -> str:
        if self.finish_reason == "content_filter":
            return "The model's provider held the answer back because of its content filter."
        if self.finish_reason == "length":
            used = "with thinking " if thought else ""
            return (
                f"The model gave no answer: it reached its length limit {used}before it said "
                "anything. A larger `context` or `max_tokens` may help."
            )
        return "The model gave an empty answer. Asking again, in other words, may help."


def _content(delta: Mapping[str, Any]) -> tuple[str, str]:
    """Text and reasoning of a delta, in the several ways in which servers send them."""
    text, thought = "", ""
    content = delta.get("content")
    if isinstance(content, str):
        text = content
    elif isinstance(content, list):  # Mistral: typed parts
        for part in filter(lambda p: isinstance(p, Mapping), content):
            text += _string(part.get("text"))
            thought += _content({"content": part.get("thinking")})[0]
    text = text or _string(delta.get("refusal"))
    # vLLM sends the same under two names, OpenRouter as text and in parts
    for key in ("reasoning", "reasoning_content", "thinking"):
        if isinstance(said := delta.get(key), str) and said:
            return text, thought + said
    details = delta.get("reasoning_details")
    for part in details if isinstance(details, list) else ():
        if isinstance(part, Mapping):
            thought += _string(part.get("text")) or _string(part.get("summary"))
    return text, thought


def _usage(usage: Mapping[str, Any]) -> Usage:
    """What a provider says that it took; what cannot be true counts as not said."""

    def count(key: str) -> int:
        value = usage.get(key)
        return value if isinstance(value, int) and 0 <= value <= MAX_TOKENS else 0

    told = usage.get("cost")
    known = isinstance(told, int | float) and 0 <= told <= MAX_COST  # and so not NaN
    cost = float(told) if known and told is not None else None
    return Usage(count("prompt_tokens"), count("completion_tokens"), cost)


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
