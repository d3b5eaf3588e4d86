"""Finds the tool calls that small models write into their answer as text."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from memtrix_as.messages import ToolCall
from memtrix_as.providers import arguments
from memtrix_as.providers.calls import MAX_CALLS, resolve

_NAMES = ("name", "tool", "tool_name", "function")
_ARGUMENTS = ("arguments", "parameters", "args", "params", "input", "tool_input")
_MARKS = frozenset({"id", "type", "call_id", "index"})
_KEYS = frozenset({*_NAMES, *_ARGUMENTS, *_MARKS, "tool_calls"})
_LANGUAGES = ("json", "tool_call", "tool_calls", "tool", "function", "xml")
_STARTS = ("<tool_call", "<function", "<|tool_call", "<|python_tag|>", "[tool_calls]")
_HEAD = 400  # characters in which a written call shows itself
_MAX_HELD = arguments.MAX_LENGTH + _HEAD

_OPEN = re.compile(r"\[?\s*\{\s*(?:[\"'](\w*)([\"']?))?")
_FIRST_NAME = re.compile(r"\[?\s*\{\s*\"(?:name|tool|tool_name)\"\s*:\s*\"([^\"]+)\"")
_FENCES = re.compile(r"```(\w*)\s*(.*?)\s*(?:```|\Z)", re.DOTALL)
_TAGGED = re.compile(
    r"<\|?(?:tool|function)_calls?\|?>(.*?)"
    r"(?:<\|?/(?:tool|function)_calls?\|?>|(?=<\|?(?:tool|function)_call)|\Z)",
    re.DOTALL,
)
_FUNCTION = re.compile(r"<function=([\w.-]+)>(.*?)(?:</function>|(?=<function=)|\Z)", re.DOTALL)
_PARAMETER = re.compile(
    r"<parameter=([\w.-]+)>\n?(.*?)\n?(?:</parameter>|(?=<parameter=)|\Z)", re.DOTALL
)
_MISTRAL = re.compile(r"\s*([\w.-]+)\s*(?:\[CALL_ID\]\w+)?(?:\[ARGS\])?\s*(?=\{)")
_ENDS = re.compile(r"(?:\s*(?:<\|(?:eom_id|eot_id|im_end|end)\|>|</s>))+\s*\Z")
_NAMED = re.compile(r"[\"']name[\"']\s*:\s*[\"']([\w.-]+)[\"']")
_GAP = re.compile(r"[\s,;]*")


class Holder:
    """Lets an answer through, but for a beginning that may turn out to be calls.

    What is not a call comes out as it went in; nobody sees a call's JSON flash by.
    """

    def __init__(self, offered: Collection[str]) -> None:
        """Without offered tools everything is let through at once."""
        self._offered = offered
        self._passing = not offered
        self._held: list[str] = []
        self._length = 0
        self._head = ""

    def feed(self, piece: str) -> str:
        """The text that can be shown now."""
        if self._passing:
            return piece
        self._held.append(piece)
        self._length += len(piece)
        if len(self._head) < _HEAD:
            self._head += piece
            self._passing = not may_be_calls(self._head, self._offered)
        if self._length > _MAX_HELD:
            self._passing = True
        return self._take() if self._passing else ""

    def finish(self) -> tuple[str, list[ToolCall]]:
        """The text that was still held back, or the calls that it was."""
        held = self._take()
        calls = parse(held, self._offered) if held.strip() and not self._passing else None
        return ("", calls) if calls else (held, [])

    def _take(self) -> str:
        held = "".join(self._held)
        self._held.clear()
        return held


def may_be_calls(head: str, offered: Collection[str]) -> bool:
    """Whether an answer that begins so may still become nothing but calls."""
    head = head.lstrip()
    low = head.lower()
    if not head or any(start.startswith(low[: len(start)]) for start in _STARTS):
        return True
    if head[0] == "`":
        return _fence_may_be(head, offered)
    return head[0] in "[{" and _json_may_be(head, offered)


def _fence_may_be(head: str, offered: Collection[str]) -> bool:
    if len(head) < 3:
        return not head.strip("`")
    fence = re.match(r"```[ \t]*(\w*)", head)
    if fence is None:
        return False
    language, rest = fence[1].lower(), head[fence.end() :].lstrip()
    if not rest:
        return any(name.startswith(language) for name in _LANGUAGES)
    if language and language not in _LANGUAGES:
        return False
    return rest[0] != "`" and may_be_calls(rest, offered)


def _json_may_be(head: str, offered: Collection[str]) -> bool:
    if not head[1:].strip():
        return True
    opened = _OPEN.match(head)
    if opened is None or (opened[1] is None and opened.end() < len(head)):
        return False
    key = opened[1] or ""
    if not opened[2] and opened.end() == len(head):
        return any(known.startswith(key) for known in _KEYS)
    named = _FIRST_NAME.match(head)
    return key in _KEYS and (named is None or resolve(named[1], offered) is not None)


def parse(text: str, offered: Collection[str]) -> list[ToolCall] | None:
    """The calls that an answer consists of, without ids; None if it is anything else.

    Where a mark such as <tool_call> says that a call is meant, the name may be one that was not
    offered and the arguments may be broken: the model is then told. Bare JSON has to fit.
    """
    body = _ENDS.sub("", text).strip()
    body = body.removeprefix("<|python_tag|>").strip()
    if not body:
        return None
    if blocks := _whole(_FENCES, body):
        if any(block[1] and block[1].lower() not in _LANGUAGES for block in blocks):
            return None
        body = "\n".join(block[2] for block in blocks)
    found = _marked(body) or _functions(body) or _mistral(body)
    if found is None:
        values = _values(body)
        read = [_call(value) for value in values or ()]
        found = [call for call in read if call and resolve(call.name, offered)]
        if not values or len(found) < len(values):
            return None
    return found[:MAX_CALLS] or None


def _whole(pattern: re.Pattern[str], body: str) -> list[re.Match[str]]:
    """The matches, if the text consists of them and blanks only."""
    matches = list(pattern.finditer(body))
    return matches if matches and not pattern.sub("", body).strip() else []


def _marked(body: str) -> list[ToolCall] | None:
    calls: list[ToolCall] = []
    for block in _whole(_TAGGED, body):
        inner = block[1].strip()
        if not inner:
            continue
        several = _functions(inner) or _named_call(inner) or _surely(inner)
        if several is None:
            return None
        calls += several
    return calls or None


def _surely(inner: str) -> list[ToolCall] | None:
    """The calls of a text that is marked as calls, even if the JSON is broken."""
    calls = [_call(value) for value in _values(inner) or ()]
    if calls and all(calls):
        return [call for call in calls if call]
    if (named := _NAMED.search(inner)) and not calls:
        _, problem = arguments.read(inner)
        return [ToolCall("", named[1], {}, problem or "the call is not valid JSON")]
    return None


def _named_call(inner: str) -> list[ToolCall] | None:
    """`name{...}`, as newer Mistral models and some others write it."""
    if not (named := _MISTRAL.match(inner)):
        return None
    read, problem = arguments.read(inner[named.end() :])
    return [ToolCall("", named[1], read, problem)]


def _functions(body: str) -> list[ToolCall] | None:
    """<function=name>{...}</function>, or with a <parameter=key> for each argument."""
    calls = []
    for block in _whole(_FUNCTION, body):
        name, inner = block[1], block[2]
        parameters = _PARAMETER.findall(inner)
        if parameters and not _PARAMETER.sub("", inner).strip():
            calls.append(ToolCall("", name, {key: _plain(value) for key, value in parameters}))
        else:
            read, problem = arguments.read(inner)
            calls.append(ToolCall("", name, read, problem))
    return calls or None


def _mistral(body: str) -> list[ToolCall] | None:
    if not body.startswith("[TOOL_CALLS]"):
        return None
    calls: list[ToolCall] = []
    for part in filter(str.strip, body.split("[TOOL_CALLS]")):
        several = _named_call(part) or _surely(part.strip())
        if several is None:
            return None
        calls += several
    return calls or None


def _plain(value: str) -> Any:
    """An argument out of a tag: lists and objects are JSON, all else is text."""
    if value.lstrip()[:1] in ("{", "["):
        try:
            return arguments.loads(value)
        except ValueError:
            pass
    return arguments.mend(value)


def _values(body: str) -> list[Any] | None:
    """The JSON values that a text consists of, lists opened; None if it is not JSON."""
    decoder = json.JSONDecoder(strict=False)
    values: list[Any] = []
    at = 0
    while at < len(body):
        try:
            value, at = decoder.raw_decode(body, at)
        except (ValueError, RecursionError):
            try:
                value, at = arguments.loads(body[at:]), len(body)
            except ValueError:
                return None
        values += _opened(value)
        gap = _GAP.match(body, at)
        at = gap.end() if gap else at
    return values


def _opened(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping) and set(value) == {"tool_calls"}:
        value = value["tool_calls"]
    if isinstance(value, list):
        yield from value
    else:
        yield value


def _call(value: Any) -> ToolCall | None:
    if not isinstance(value, Mapping):
        return None
    if isinstance(inner := value.get("function"), Mapping):
        value = {**inner, **{key: value[key] for key in value if key != "function"}}
    if not value.keys() <= _KEYS:
        return None
    name = next((value[key] for key in _NAMES if isinstance(value.get(key), str)), "")
    given: Any = next((value[key] for key in _ARGUMENTS if value.get(key) is not None), {})
    if not name or not isinstance(given, Mapping | str):
        return None
    raw = given if isinstance(given, str) else json.dumps(given)
    read, problem = arguments.read(raw)
    return ToolCall("", name, read, problem)
