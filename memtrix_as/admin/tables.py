"""Answers as Markdown tables that are narrow enough for a phone, with nothing in a cell that
could end it."""

import re
from collections.abc import Sequence

from memtrix_as.admin.words import number
from memtrix_as.agent import questions

LONG = 15  # rows of a page
CELL = 60  # characters of a cell
FACT = 400  # characters of a value beside its name

_BAR = re.compile(r"(?<!\\)\|")


class Cell(str):
    """Markdown that is ready to stand in a cell."""


def code(text: object, limit: int = CELL) -> Cell:
    """Something to be typed or copied, in a code span."""
    shown = str(text)
    if len(shown) > limit:
        shown = f"{shown[: limit - 1]}…"
    return Cell(questions.code(shown))


def words(text: object, limit: int = CELL) -> Cell:
    """Somebody's words, as words: no markup, on one line, cut where they are too long."""
    shown = " ".join(str(text).split())
    if len(shown) > limit:
        shown = f"{shown[: limit - 1].rstrip()}…"
    return Cell(questions.plain(shown, 4 * limit))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; what is no Cell is taken for somebody's words."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        # Also within a code span: there the parser of tables takes the backslash away again.
        cells = [_BAR.sub(r"\|", _cell(value)) for value in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def facts(rows: Sequence[tuple[str, object]]) -> str:
    """Names and values below each other."""
    return "\n".join(f"- **{name}:** {_cell(value, FACT)}" for name, value in rows)


def _cell(value: object, limit: int = CELL) -> str:
    if isinstance(value, Cell):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return words(value, limit)


def page_of(text: str) -> int | None:
    """The page that an argument asks for, when it is a number."""
    return number(text) if text else 1


def paged(
    command: str, head: Sequence[str], rows: Sequence[Sequence[object]], page: int, what: str
) -> str:
    """One page of a long table, which says how much more there is and what shows it."""
    pages = max(1, -(-len(rows) // LONG))
    if page > pages:
        return f"There is no page {page}: {questions.code(command)} has {pages}."
    shown = table(head, rows[(page - 1) * LONG : page * LONG])
    if pages == 1:
        return shown
    following = questions.code(f"{command} {page + 1}")
    more = f"; {following} shows more" if page < pages else ""
    return f"{shown}\n\nPage {page} of {pages}, {len(rows):,} {what}{more}."


def block(text: str, language: str = "") -> str:
    """A code block that the text cannot end, whatever backticks are in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
