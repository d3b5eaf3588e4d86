"""A journal as markdown: cut into its entries, put together again, and marked for a file."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, get_args

from memtrix_as.db.journals import Author, Entry
from memtrix_as.db.pool import clean
from memtrix_as.memory.markdown import Fences, heading, is_bullet
from memtrix_as.memory.passages import SECTIONS

# In a file a comment after an entry, which no reader of rendered markdown sees, tells who may
# know it. A text that looks like one gets a backslash more on its way out, and loses it again.
_MARK = re.compile(r"\s*<!-- memtrix (\{.*\}) -->\s*")
_OUT = re.compile(r"<!-- (\\*)memtrix")
_IN = re.compile(r"<!-- \\(\\*)memtrix")
_STRUCTURE = ("|", ">", "`", "~", "<", " ", "\t")  # what a bullet must not be made of


@dataclass(frozen=True, slots=True)
class Piece:
    """An entry as a text has it; `mark` is what the comment after it says."""

    section: str
    text: str
    mark: "Mark | None" = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Who may know an entry, and where it comes from."""

    people: tuple[str, ...]
    room_id: str | None
    events: tuple[str, ...]
    author: Author
    created_at: datetime | None


def cut(markdown: str, day: date | None = None, *, marked: bool = False) -> list[Piece]:
    """The entries of a journal: its bullets and blocks, each under its section.

    A section is a heading of the second level. A deeper one begins a block that reaches to the
    next heading. The day as the title is left out, as are sections of the form that are empty.
    With `marked`, comments after entries are read. No other text is lost.
    """
    cutter = _Cutter(day, marked)
    for line in clean(markdown).replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        cutter.take(line)
    return cutter.end()


class _Cutter:
    """Takes a journal line by line."""

    def __init__(self, day: date | None, marked: bool) -> None:
        self._title = day.isoformat() if day else None
        self._marked = marked
        self._pieces: list[Piece] = []
        self._section = ""
        self._unit: list[str] = []
        self._fences = Fences()
        self._blank = False  # the line before was
        self._block = False  # under a heading of the third level or deeper

    def take(self, line: str) -> None:
        within = bool(self._fences.open)
        code = self._fences.code(line)
        if within:
            self._unit.append(line)
        elif not line.strip():
            self._blank = True
            self._unit.append("")
        elif not code and self._marked and self._take_mark(line):
            pass
        elif not code and (found := heading(line)):
            self._take_heading(line, *found)
        else:
            apart = is_bullet(line) or (self._blank and not line[:1].isspace())
            if apart and not self._block:
                self._close()
            self._unit.append(line)
            self._blank = False

    def end(self) -> list[Piece]:
        if self._fences.open:  # else it would swallow what is put after it
            self._unit.append(self._fences.open)
        self._close()
        known = {piece.section for piece in self._pieces if piece.text}
        kept = []
        for piece in self._pieces:
            if piece.text or piece.section not in known:  # of empty sections, one of each name
                kept.append(piece)
                known.add(piece.section)
        return kept

    def _close(self, mark: Mark | None = None) -> None:
        text = "\n".join(self._unit).strip("\n")
        if text.strip():
            self._pieces.append(Piece(self._section, text, mark))
        self._unit, self._blank, self._block = [], False, False

    def _take_heading(self, line: str, level: int, title: str) -> None:
        self._close()
        if level == 1:
            if title and title == self._title:
                self._title = None
            else:
                self._pieces.append(Piece(self._section, line))
        elif level == 2:
            self._section = section_name(title)
            if self._section not in ("", *SECTIONS):
                self._pieces.append(Piece(self._section, ""))
        else:
            self._unit, self._block = [line], True

    def _take_mark(self, line: str) -> bool:
        found = _MARK.fullmatch(line)
        mark = _read_mark(found[1]) if found else None
        if mark is None:
            return False
        if any(self._unit):
            self._close(mark)
            return True
        last = self._pieces[-1] if self._pieces else None
        if last is None or last.mark or last.section != self._section:
            return False
        self._pieces[-1] = replace(last, mark=mark)
        return True


def section_name(title: str) -> str:
    """A section's name as a heading can say it; those that every journal has in their own form."""
    found = heading(f"## {' '.join(title.split())}")
    name = found[1] if found else ""
    return next((known for known in SECTIONS if known.casefold() == name.casefold()), name)


def titled(markdown: str) -> date | None:
    """The day that a text is headed with."""
    first = heading(next((line for line in markdown.split("\n") if line.strip()), ""))
    try:
        return date.fromisoformat(first[1]) if first and first[0] == 1 else None
    except ValueError:
        return None


def added(section: str, text: str, day: date) -> list[Piece]:
    """The entries that a text for this section makes; a single line becomes a bullet."""
    name = section_name(clean(section).strip().lstrip("#"))
    pieces = [piece for piece in cut(text, day) if piece.text]
    return [Piece(piece.section or name, _bullet(piece.text)) for piece in pieces]


def _bullet(text: str) -> str:
    plain = "\n" not in text and not text.startswith(_STRUCTURE)
    return f"- {text}" if plain and not is_bullet(text) and not heading(text) else text


def render(day: date, entries: Sequence[Entry], mark: Callable[[Entry], str] | None = None) -> str:
    """The journal as one text, empty if it has no entries; `mark` says what follows an entry."""
    if not entries:
        return ""
    text = "\n".join(line for line, _ in lines(entries, mark))
    return f"# {day.isoformat()}\n\n{text}\n"


def lines(
    entries: Sequence[Entry], mark: Callable[[Entry], str] | None = None
) -> Iterator[tuple[str, Entry | None]]:
    """The lines of the sections, each with the entry that it is of."""
    sections: dict[str, list[Entry]] = {name: [] for name in ("", *SECTIONS)}
    for entry in entries:
        sections.setdefault(entry.section, []).append(entry)
    first = True
    for section, within in sections.items():
        # What stands under a deeper heading comes last: else it would take in what follows.
        within.sort(key=_under_heading)
        before: Entry | None = None
        if within and section:
            yield from [] if first else [("", None)]
            yield f"## {section}", None
            first = False
        for entry in within:
            if not entry.text and not mark:
                continue
            if not first and not (_is_list(before) and _is_list(entry)):
                yield "", None
            for line in entry.text.split("\n") if entry.text else ():
                yield line, entry
            if mark and (comment := mark(entry)):
                yield ("  " if _is_list(entry) else "") + comment, entry
            before, first = entry, False


def _under_heading(entry: Entry) -> bool:
    found = heading(entry.text.split("\n", 1)[0])
    return bool(found and found[0] > 2)


def _is_list(entry: Entry | None) -> bool:
    return entry is not None and is_bullet(entry.text)


def mark_of(entry: Entry) -> str:
    """The comment that lets a file keep who may know an entry and where it comes from."""
    said: dict[str, Any] = {"for": list(entry.people)}
    if entry.room_id:
        said["room"] = entry.room_id
    if entry.events:
        said["events"] = list(entry.events)
    said["by"] = entry.author
    if entry.created_at:
        said["at"] = entry.created_at.isoformat()
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    text = text.replace("--", "-\\u002d").replace(">", "\\u003e")  # would end the comment
    return f"<!-- memtrix {text} -->"


def _read_mark(text: str) -> Mark | None:
    try:
        said = clean(json.loads(text))
        people, events = said["for"], said.get("events", [])
        room, author, at = said.get("room"), said.get("by", "import"), said.get("at")
        created = datetime.fromisoformat(at) if at else None
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None
    texts = [people, events]
    if not all(isinstance(t, list) and all(isinstance(x, str) for x in t) for t in texts):
        return None
    if not people or not all(who == "*" or who.startswith("@") for who in people):
        return None
    if not isinstance(room, str | None) or author not in get_args(Author):
        return None
    if created and (created.tzinfo is None or not 1970 <= created.year < 9000):
        return None
    return Mark(audience(people), room, tuple(events), author, created)


def audience(people: Sequence[str]) -> tuple[str, ...]:
    """The people as an entry keeps them: sorted, and '*' alone when it is among them."""
    return ("*",) if "*" in people else tuple(sorted(set(people)))


def escaped(text: str) -> str:
    """A text that holds no comment which a file would be read by."""
    return _OUT.sub(r"<!-- \\\1memtrix", text)


def unescaped(text: str) -> str:
    return _IN.sub(r"<!-- \1memtrix", text)
