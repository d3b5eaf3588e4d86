"""Cuts a long answer into parts that fit one event each, at the borders a reader would choose."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate

from markdown_it import MarkdownIt
from markdown_it.token import Token

from memtrix_as.matrix import content
from memtrix_as.matrix.html import sound, to_html

# For each kind of border, how full a part must be for it to be good enough: rather a part of a
# third that ends with a paragraph than a full one that ends within a sentence.
_BLOCK, _ITEM, _LINE = 0, 1, 2
_FULL_ENOUGH = {_BLOCK: 0.35, _ITEM: 0.4, _LINE: 0.5}
_SMALLEST = 1_000  # bytes; an event of this size fits whatever its HTML
_LARGEST = 30_000
_CLOSING = 200  # bytes kept free for what closes a block
_LONGEST_CARRY = 0.2  # of a part: a longer table header is not repeated

_FULL_STOP = "\u3002\uff01\uff1f"  # of Chinese and Japanese, where no space follows
_SENTENCE = re.compile(rf"[.!?\u2026]['\")\]\u00bb\u201d\u2019]*\s+|[{_FULL_STOP}]")
# What surely is no longer in the list that was cut through.
_OUTSIDE = re.compile(r"(?m)^(?!\s|$|[-*+]\s|\d{1,9}[.)]\s|>)")
_BEGINNINGS = {
    "list_item_open", "paragraph_open", "heading_open", "blockquote_open", "bullet_list_open",
    "ordered_list_open", "table_open", "fence", "code_block", "hr",
}  # fmt: skip
_WORD = re.compile(r"\s+(?=\w)")
_SPACE = re.compile(r"\s+")
_JOINERS = {"\u200d", "\ufe0e", "\ufe0f", "\u20e3"}


@dataclass(frozen=True)
class _Frame:
    """A code block or table that a cut may go through: what ends it there and begins it anew."""

    start: int
    end: int
    closing: str = ""
    reopening: str = ""
    prefix: str = ""  # of each line, when the block stands in a quote
    indent: int = 0

    @property
    def is_code(self) -> bool:
        return bool(self.closing)


@dataclass(frozen=True)
class _Border:
    """A place to cut; the lines that follow lose the indentation of what was cut through."""

    at: int
    kind: int
    frame: _Frame | None = None
    indent: int = 0


def split(markdown: str, limit: int = 16_000) -> list[str]:
    """The parts of `markdown`, each a markdown text of its own; [] for an empty one.

    A part has at most `limit` bytes as JSON (1,000 to 30,000), and the event that `content.text`
    makes of it at most `content.LARGEST_TEXT`. Code blocks are closed and opened again, tables
    begin anew with their header.
    """
    limit = min(max(limit, _SMALLEST), _LARGEST)
    rest = sound(markdown).replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    parts: list[str] = []
    while rest.strip():
        part, rest = (rest, "") if content.weight(rest) <= limit else _cut(rest, limit)
        if limit > _SMALLEST and _too_rich(part):
            parts += split(part, limit // 2)
        elif part.strip():
            parts.append(part.strip("\n"))
    return parts


def _too_rich(part: str) -> bool:
    """Whether the HTML (`&` becomes five characters, a table cell nine) does not fit."""
    event = content.text(part, kind="text", thread="$" * 64, reply_to="$" * 64, key="-" * 64)
    return "formatted_body" not in event and to_html(part) is not None


def _cut(text: str, limit: int) -> tuple[str, str]:
    """The first part and the rest. What is carried over is shorter than a part is at least."""
    reach = _reach(text, limit - _CLOSING)
    borders, frames = _borders(text[:reach], limit)
    for kind, full in _FULL_ENOUGH.items():
        good = [b for b in borders if b.kind <= kind and full * reach <= b.at < reach]
        if good:
            return _apart(text, max(good, key=lambda border: border.at))
    return _apart(text, _within_line(text, reach, frames))


def _reach(text: str, limit: int) -> int:
    """How many characters fit into `limit` bytes."""
    weights = accumulate(map(content.weight, text[:limit]))
    return max(1, bisect_right(list(weights), limit))


def _apart(text: str, border: _Border) -> tuple[str, str]:
    head, tail = text[: border.at].rstrip("\n"), text[border.at :]
    if border.indent:
        outside = _OUTSIDE.search(tail)
        until = outside.start() if outside else len(tail)
        tail = re.sub(rf"(?m)^ {{1,{border.indent}}}", "", tail[:until]) + tail[until:]
    if border.frame is None:
        return head, tail.lstrip("\n") if border.kind == _BLOCK else tail
    if border.frame.is_code:
        head += f"\n{border.frame.closing}"
    return head, border.frame.reopening + tail


def _borders(window: str, limit: int) -> tuple[list[_Border], list[_Frame]]:
    """The places between lines where the window can be cut, and the blocks with a frame."""
    lines = window.split("\n")
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    borders: list[_Border] = []
    frames: list[_Frame] = []
    under_heading = False
    for token in _BLOCKS.parse(window):
        if not token.map:
            continue
        if token.level == 0:
            if not under_heading:
                borders.append(_Border(starts[token.map[0]], _BLOCK))
            under_heading = token.type == "heading_open"
        elif token.type in _BEGINNINGS:
            kind = _ITEM if token.type == "list_item_open" else _LINE
            borders.append(_between(lines, starts, token.map[0], kind))
        if token.type in ("fence", "tbody_open"):
            make = _fence if token.type == "fence" else _table
            if frame := make(token, lines, starts, limit):
                frames.append(frame)
                borders += _through(frame, starts)
        elif token.type in ("code_block", "paragraph_open"):
            inside = [
                _between(lines, starts, n, _LINE) for n in range(token.map[0] + 1, token.map[1])
            ]
            # The indentation of a code block is what makes it one.
            borders += inside if token.nesting else [replace(b, indent=0) for b in inside]
    return borders, frames


def _through(frame: _Frame, starts: list[int]) -> Iterable[_Border]:
    for start in starts:
        if frame.start < start < frame.end:
            yield _Border(start, _LINE, frame, frame.indent)


def _between(lines: list[str], starts: list[int], line: int, kind: int) -> _Border:
    text = lines[line]
    return _Border(starts[line], kind, indent=len(text) - len(text.lstrip(" ")))


def _fence(token: Token, lines: list[str], starts: list[int], limit: int) -> _Frame | None:
    assert token.map
    first, last = token.map
    before = lines[first][: lines[first].find(token.markup)]
    if len(before) + len(token.markup) > _CLOSING // 2:
        return None
    quoted = ">" in before
    prefix = re.sub(r"[^>\s]", " ", before) if quoted else ""
    info = token.info if len(token.info.encode()) < limit * _LONGEST_CARRY / 4 else ""
    closed = last - first > 1 and lines[last - 1].lstrip(" >").startswith(token.markup)
    return _Frame(
        start=starts[first + 1],
        end=starts[last - closed],
        closing=prefix + token.markup,
        reopening=f"{prefix}{token.markup}{info}\n",
        prefix=prefix,
        indent=0 if quoted else len(before),
    )


def _table(token: Token, lines: list[str], starts: list[int], limit: int) -> _Frame:
    assert token.map
    first, last = token.map
    header = "".join(f"{line.strip()}\n" for line in lines[first - 2 : first])
    if content.weight(header) > limit * _LONGEST_CARRY:
        header = ""
    return _Frame(starts[first], starts[last], reopening=header)


def _within_line(text: str, reach: int, frames: list[_Frame]) -> _Border:
    """A cut inside of a line, when it alone is longer than half a part."""
    half = reach // 2
    frame = next((f for f in frames if f.start <= half and reach <= f.end), None)
    at = 0
    for pattern in () if frame and frame.is_code else (_SENTENCE, _WORD, _SPACE):
        at = at or max((m.end() for m in pattern.finditer(text, half, reach)), default=0)
    at = at or _between_characters(text, reach)
    if frame:  # the rest of the line needs the prefix that its beginning has
        frame = replace(frame, reopening=frame.reopening + frame.prefix)
    return _Border(at, _LINE, frame, frame.indent if frame else 0)


def _between_characters(text: str, reach: int) -> int:
    for at in range(reach, max(reach // 2, reach - 64), -1):
        if not _belongs(text, at):
            return at
    return reach  # more joined characters than any real text has


def _belongs(text: str, at: int) -> bool:
    """Whether the character at `at` is seen as one with that before it."""
    before, after = text[at - 1], text[at : at + 1]
    if not after:
        return False
    if after in _JOINERS or before in ("\u200d", "\\") or unicodedata.category(after)[0] == "M":
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return True
    if _is_flag(before) and _is_flag(after):
        run = 0
        while run < min(at, 64) and _is_flag(text[at - 1 - run]):
            run += 1
        return run % 2 == 1
    return False


def _is_flag(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _blocks() -> MarkdownIt:
    """The same blocks as `html.to_html` sees, without the work on the text inside of them."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("reference")
    markdown.core.ruler.enableOnly(["normalize", "block"])
    return markdown


_BLOCKS = _blocks()
