"""Reads the body of a transaction so that no event in it can hide its neighbours."""

import json
import math
import re
from typing import Any

DEEPEST = 100  # lists and mappings in each other; what stands deeper reads as null

# a whole string, or one bracket
_MARK = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{\]}]', re.DOTALL)


def read(body: bytes) -> Any:
    """The JSON of a body; ValueError where it is none.

    What Python refuses or PostgreSQL cannot hold, though JSON allows it, reads as something near:
    the homeserver would repeat the whole transaction for ever.
    """
    try:
        return _parse(body)
    except RecursionError:
        return _parse(_shallow(body))


def _parse(body: bytes) -> Any:
    return json.loads(body, parse_int=_whole, parse_float=_number, parse_constant=_constant)


def _shallow(body: bytes) -> bytes:
    """The body with null for what is nested too deeply."""
    parts, depth, kept = [], 0, 0
    for mark in _MARK.finditer(body):
        if mark[0] in (b"[", b"{"):
            depth += 1
            if depth == DEEPEST + 1:
                parts += [body[kept : mark.start()], b"null"]
        elif mark[0] in (b"]", b"}"):
            if depth == DEEPEST + 1:
                kept = mark.end()
            depth -= 1
    if depth:
        raise ValueError("a bracket is not closed")
    return b"".join([*parts, body[kept:]])


def _whole(digits: str) -> int:
    return int(digits) if len(digits) < 20 else 0


def _number(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else 0.0


def _constant(_: str) -> None:
    return None  # NaN and Infinity
