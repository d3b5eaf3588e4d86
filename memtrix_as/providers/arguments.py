"""Reads the arguments of a call, mending what can be meant in one way only."""

import ast
import json
import math
import re
from collections.abc import Mapping
from typing import Any

MAX_LENGTH = 1 << 20  # characters of one call's arguments
_MAX_LITERAL = 1 << 16  # ast takes some hundred times the memory of its source

_FENCE = re.compile(r"```\w*(.*)```", re.DOTALL)
_STRING_OR_COMMA = re.compile(r'"(?:[^"\\]|\\.)*"|,(?=\s*[}\]])', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


def read(raw: str) -> tuple[dict[str, Any], str | None]:
    """The arguments, and what is wrong with them if they cannot be read."""
    if len(raw) > MAX_LENGTH:
        return {}, f"the arguments are longer than {MAX_LENGTH} characters"
    if raw.strip() in ("", "null", "None"):
        return {}, None
    try:
        value = loads(raw)
        if isinstance(value, str):  # encoded twice
            value = loads(value) if value.strip() else {}
    except ValueError as exc:
        return {}, f"the arguments are not valid JSON: {exc}"
    if not isinstance(value, dict):
        kind = "a list" if isinstance(value, list) else "a single value"
        return {}, f"the arguments must be a JSON object, not {kind}"
    return value, None


def loads(raw: str) -> Any:
    """Like json.loads, but takes fences around it, trailing commas and Python's literals.

    Raises ValueError with the first complaint about the text as it came.
    """
    try:
        return _strict(raw)
    except ValueError as exc:
        complaint = exc
    fenced = _FENCE.fullmatch(raw.strip())
    text = (fenced[1] if fenced else raw).strip()
    attempts = (text, _STRING_OR_COMMA.sub(lambda m: "" if m[0] == "," else m[0], text))
    for attempt in attempts:
        try:
            return _strict(attempt)
        except ValueError:
            continue
    if text.startswith("{") and len(text) <= _MAX_LITERAL:
        try:
            # the round trip refuses what JSON cannot hold: sets, bytes, complex numbers
            return _strict(json.dumps(ast.literal_eval(text), allow_nan=False))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            pass
    raise complaint


def mend(text: str) -> str:
    """Text that PostgreSQL and UTF-8 can hold: surrogates joined or replaced, no NUL."""
    if not text.isascii() and _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "") if "\0" in text else text


def _strict(raw: str) -> Any:
    try:
        # strict=False: small models put raw line ends into strings
        value = json.loads(raw, strict=False, parse_constant=_refuse, parse_float=_finite)
    except json.JSONDecodeError as exc:
        raise ValueError(f"{exc.msg} at character {exc.pos}") from exc
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc
    return _mended(value) if "\\u" in raw or not raw.isascii() or "\0" in raw else value


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):  # 1e999, which JSON allows and nothing that we write to does
        raise ValueError(f"{number[:20]} is too large a number")
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON value")


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return mend(value)
    if isinstance(value, Mapping):
        return {mend(key): _mended(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_mended(item) for item in value]
    return value
