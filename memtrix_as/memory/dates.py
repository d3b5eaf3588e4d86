"""Dates that a question names: a day or a month, as ISO or with English month names."""

import math
import re
from calendar import monthrange
from collections.abc import Sequence
from datetime import date

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_NAMES = "|".join((*_MONTHS, *(name[:3] for name in _MONTHS)))
_PATTERNS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?P<y>\d{4})-(?P<m>\d\d)(?:-(?P<d>\d\d))?\b",
        rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<m>{_NAMES})\.?,? (?P<y>\d{{4}})\b",
        rf"\b(?P<m>{_NAMES})\.? (?P<d>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<y>\d{{4}})\b",
        rf"\b(?P<m>{_NAMES}),? (?P<y>\d{{4}})\b",
    )
]
FADES = 7.0  # days after which a date is half forgotten, nearly: people write of the days before

Span = tuple[date, date]


def dates(question: str) -> list[Span]:
    """Each date in the question as its first and last day."""
    spans = []
    read: set[int] = set()  # places in the question: "8 May 2023" is not May 2023 too
    for pattern in _PATTERNS:
        for found in pattern.finditer(question):
            if not read.isdisjoint(range(*found.span())):
                continue
            read.update(range(*found.span()))
            named = found.groupdict()
            month = named["m"]
            number = int(month) if month.isdigit() else _month(month)
            year, day = int(named["y"]), named.get("d")
            try:
                first = date(year, number, int(day) if day else 1)
            except ValueError:
                continue  # the 31st of February
            last = first if day else first.replace(day=monthrange(year, number)[1])
            spans.append((first, last))
    return spans


def _month(name: str) -> int:
    return next(n for n, month in enumerate(_MONTHS, 1) if month.startswith(name.lower()[:3]))


def nearness(day: date, spans: Sequence[Span]) -> float:
    """1 within a span, less the longer after it, and twice as fast before it, where the
    event cannot have been told yet."""
    best = 0.0
    for first, last in spans:
        away = (day - last).days if day > last else 2 * max(0, (first - day).days)
        best = max(best, math.exp(-away / FADES))
    return best
