"""Text cut into passages: pieces of a few hundred tokens that are indexed and found as one."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import accumulate

from memtrix_as.memory.markdown import Fences, heading, is_bullet

TARGET = 160  # tokens: a passage ends before the piece that would lead over it
LONGEST = 240  # tokens of one piece; a longer paragraph or message is cut into several

# The sections that every journal has. One that is empty is the form, and not a text.
SECTIONS = ("Conversations", "Learned", "Decisions", "Tasks", "Notes")


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a conversation."""

    id: int
    speaker: str
    text: str
    at: datetime  # in the user's time zone: it decides the day
    event: str = ""
    people: tuple[str, ...] = ()  # the humans who were present


@dataclass(frozen=True, slots=True)
class Passage:
    """Neighbouring pieces of one text, found together.

    `parts` are lines (of a journal) or messages (of a conversation); `start` counts them within
    the source, so that passages that overlap or follow each other can be put together.
    """

    source: str  # of what it is a passage, e.g. "journal 2024-05-01"
    day: date
    heading: str  # "Decisions > Boat", empty for a conversation
    start: int
    parts: tuple[str, ...]
    people: tuple[str, ...]  # the humans who may know it
    messages: tuple[int, ...] = ()  # of a conversation: for each part its message
    # For each part its event, empty where there is none. In a journal an entry may be made of
    # several messages: their other events follow, so that the passage is found by each.
    events: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "\n".join(self.parts)

    @property
    def indexed(self) -> str:
        """What words and embedding are made of: the text under its heading.

        The day is not in it: measured, a date before each text takes from the embeddings more
        than it gives. To the words it is added, see `date_words`.
        """
        return f"{self.heading}\n{self.text}" if self.heading else self.text

    @property
    def hash(self) -> bytes:
        """The same for passages that need no new index entries in place of each other."""
        who = " ".join(sorted(set(self.people)))
        whole = "\0".join((self.day.isoformat(), who, self.heading, *self.parts))
        return hashlib.sha256(whole.encode("utf-8", "replace")).digest()


def date_words(day: date) -> str:
    """The day as people ask for it: "May 2023", "8 May", "2023-05-08", "Monday"."""
    return f"{day.isoformat()} {day.day} {day:%B %A}"


def tokens(text: str) -> int:
    """An estimate of a text's tokens that holds for scripts of two and three bytes too."""
    return len(text.encode("utf-8", "replace")) // 4 + 1


def cut_journal(
    source: str,
    day: date,
    markdown: str,
    people: Sequence[str] = (),
    events: Mapping[int, Sequence[str]] | None = None,
) -> list[Passage]:
    """A day's journal along its headings, bullets and paragraphs; nothing of it is lost.

    A passage stays within its section, and begins amid the one before. Appending changes the last
    passages of the section only. `events` are those of the messages that a line, counted from 1,
    was made of.
    """

    def passage(title: str, start: int, group: Sequence[tuple[int, str]]) -> Passage:
        made_of = [tuple((events or {}).get(line, ())) for line, _ in group]
        own = [of[0] if of else "" for of in made_of]
        more = dict.fromkeys(event for of in made_of for event in of if event not in own)
        links = (*own, *more) if any(own) else ()
        parts = tuple(piece for _, piece in group)
        return Passage(source, day, title, start, parts, tuple(people), events=links)

    passages: list[Passage] = []
    begin = 0
    for title, block in _sections(markdown):
        chunks = [chunk for unit in _units(block) for chunk in _chunks(unit)]
        sizes = [sum(tokens(piece) for _, piece in chunk) for chunk in chunks]
        starts = [begin, *(begin + n for n in accumulate(map(len, chunks)))]
        for first, last in _windows(sizes):
            group = [line for chunk in chunks[first:last] for line in chunk]
            passages.append(passage(title, starts[first], group))
        begin = starts[-1]
    return passages


def cut_conversation(source: str, said: Sequence[Said]) -> list[Passage]:
    """Windows of neighbouring messages of one day, each beginning amid the one before.

    When somebody came or went a new window begins, so that nobody is given what was said without
    them. An appended message changes only the last windows.
    """
    pieces = [
        (message, f"{message.speaker}: {piece}" if n == 0 else piece)
        for message in said
        for n, piece in enumerate(_paragraphs(message.text))
    ]
    passages = []
    begin = 0
    while begin < len(pieces):
        people = pieces[begin][0].people
        end = begin
        while end < len(pieces) and pieces[end][0].people == people:
            end += 1
        for first, last in _windows([tokens(text) for _, text in pieces[begin:end]]):
            window = pieces[begin + first : begin + last]
            passages.append(
                Passage(
                    source,
                    said[0].at.date(),
                    "",
                    begin + first,
                    tuple(text for _, text in window),
                    people,
                    messages=tuple(message.id for message, _ in window),
                    events=tuple(message.event for message, _ in window),
                )
            )
        begin = end
    return passages


def _windows(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and after the last of each window of pieces with these sizes; they half overlap."""
    first = reached = 0
    while reached < len(sizes):
        last = first + 1
        while last < len(sizes) and sum(sizes[first : last + 1]) <= TARGET:
            last += 1
        if last > reached:  # else it is all in the one before
            yield first, last
            reached = last
        first += max(1, (last - first) // 2)


def _sections(markdown: str) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Each heading's path with the numbered lines under it.

    A heading with nothing under it, not even another heading, is a text of its own.
    """
    path: list[tuple[int, str]] = []
    block: list[tuple[int, str]] = []
    own: tuple[int, str] | None = None  # the heading's own line
    fences = Fences()

    def section(deeper: bool) -> Iterator[tuple[str, list[tuple[int, str]]]]:
        name = " > ".join(title for _, title in path)
        if any(line.strip() for _, line in block):
            yield name, block
        elif own and not deeper and path[-1][1] and path[-1][1] not in SECTIONS:
            yield " > ".join(title for _, title in path[:-1]), [own]

    plain = markdown.replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(plain.split("\n"), 1):
        found = None if fences.code(line) else heading(line)
        if not found:
            block.append((number, line))
            continue
        level, title = found
        yield from section(deeper=bool(path) and level > path[-1][0])
        while path and path[-1][0] >= level:
            path.pop()
        path.append((level, title))
        block, own = [], (number, line)
    yield from section(deeper=False)


def _units(block: Sequence[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """A section's bullets and paragraphs, without blank lines; a bullet keeps what is under it."""
    unit: list[tuple[int, str]] = []
    fences = Fences()
    blank = False
    for number, line in block:
        within = bool(fences.open)
        fences.code(line)
        if not within and not line.strip():
            blank = True
            continue
        new = not within and (is_bullet(line) or (blank and not line[:1].isspace()))
        if unit and new:
            yield unit
            unit = []
        if line.strip():
            unit.append((number, line))
        blank = False
    if unit:
        yield unit


def _chunks(unit: Sequence[tuple[int, str]]) -> list[list[tuple[int, str]]]:
    """A bullet or paragraph whole; when it is too long, such as a transcript, each of its lines."""
    pieces = [(n, piece) for n, line in unit for piece in _pieces(line)]
    if sum(tokens(piece) for _, piece in pieces) <= LONGEST:
        return [pieces]
    return [[piece] for piece in pieces]


def _fitting(pieces: Sequence[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Lines in runs that are not too long."""
    run: list[tuple[int, str]] = []
    size = 0
    for number, piece in pieces:
        cost = tokens(piece)
        if run and size + cost > LONGEST:
            yield run
            run, size = [], 0
        run.append((number, piece))
        size += cost
    if run:
        yield run


def _paragraphs(text: str) -> list[str]:
    """A message whole, or in runs of its lines when it is too long for one passage."""
    text = text.strip()
    if tokens(text) <= LONGEST:
        return [text]
    lines = [(0, piece) for line in text.splitlines() if line.strip() for piece in _pieces(line)]
    return ["\n".join(piece for _, piece in run) for run in _fitting(lines)]


def _pieces(line: str) -> list[str]:
    """A line, cut at sentences, else at spaces, else anywhere, into pieces that are not too long.

    Put together with nothing between they are the line again.
    """
    pieces = []
    while tokens(line) > LONGEST:
        room = len(line.encode("utf-8", "replace")[: LONGEST * 4 - 4].decode("utf-8", "ignore"))
        ends = [m.end() for m in re.finditer(r"[.!?\u3002\uff01\uff1f]+\s*", line[:room])]
        spaces = [m.end() for m in re.finditer(r"\s+", line[:room])]
        place = next((ends[-1] for _ in "." if ends and ends[-1] > room // 3), 0)
        place = place or (spaces[-1] if spaces and spaces[-1] > room // 3 else room)
        pieces.append(line[:place])
        line = line[place:]
    return [*pieces, line] if line or not pieces else pieces
