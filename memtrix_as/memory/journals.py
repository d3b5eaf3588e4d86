"""Journals: what an agent notes of each day, entry by entry, and who may know it."""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from types import EllipsisType
from typing import Any

from memtrix_as.config import Config
from memtrix_as.db import journals as rows
from memtrix_as.db import looks, passages
from memtrix_as.db.journals import Asked, Author, Entry
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.errors import JournalChanged, JournalError
from memtrix_as.memory import index
from memtrix_as.memory.journal_text import Piece, added, audience, cut, lines, render
from memtrix_as.memory.words import words

ENTRY = 4_000  # characters of an entry that is written here; files may bring longer ones
SECTION = 200  # characters of a heading
DAY = 200_000  # characters of a day

People = Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Journal:
    """A day as some people may know it."""

    day: date
    markdown: str  # empty without entries
    hash: bytes
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """How many entries a write added, took out, and left as they were."""

    added: int = 0
    removed: int = 0
    kept: int = 0


def journal(day: date, entries: Iterable[Entry]) -> Journal:
    """The day made of these entries."""
    every = tuple(entries)
    markdown = render(day, every)
    return Journal(day, markdown, hashlib.sha256(markdown.encode()).digest(), every)


def look_name(day: date) -> str:
    """Under which name it is noted that a session has read a day."""
    return f"journal {day.isoformat()}"


def lost(old: str, new: str) -> float:
    """The share of a text's words that another one does not have; 0 for a few words."""
    before = Counter(words(old))
    if before.total() < 40:
        return 0.0
    return 1 - (before & Counter(words(new))).total() / before.total()


class Journals:
    """All agents' journals. Writers of one agent go one after the other, and bring the index up
    to date in the same transaction: what is committed is found, what was taken out is not."""

    def __init__(self, pool: Pool, config: Config) -> None:
        self._pool = pool
        self._zone = config.timezone

    def today(self, now: datetime | None = None) -> date:
        """The day that it is for the user."""
        return (now or datetime.now(UTC)).astimezone(self._zone).date()

    async def read(self, agent: str, day: date, people: People) -> Journal:
        """The entries of a day that all of the people may know; None: every entry."""
        return journal(day, await rows.live(self._pool, agent, day, people))

    async def days(self, agent: str, people: People) -> list[date]:
        """The days with entries that all of the people may know, in order."""
        return await rows.days(self._pool, agent, people)

    async def asked(self, turn_id: int) -> Asked | None:
        """What a turn answers, and who was there."""
        return await rows.asked(self._pool, turn_id)

    async def look(self, session_id: int, read: Journal, start: int, end: int) -> None:
        """Note that the session was shown the day's characters from `start` to `end`.

        The day counts as read when all of it was shown, page by page.
        """
        name = look_name(read.day)
        page = f"{name} to {{}}"
        if start and await looks.looked(self._pool, session_id, page.format(start)) != read.hash:
            return
        if end < len(read.markdown):
            name = page.format(end)
        await looks.look(self._pool, session_id, name, read.hash)

    async def looked(self, session_id: int, day: date) -> bytes | None:
        """The hash of the journal that the session read last; None if it never did."""
        return await looks.looked(self._pool, session_id, look_name(day))

    async def append(
        self,
        agent: str,
        day: date,
        section: str,
        texts: Sequence[str],
        *,
        people: Sequence[str],
        room_id: str | None = None,
        messages: Sequence[int] = (),
        events: Sequence[str] = (),
        author: Author = "agent",
        turn_id: int | None = None,
        session_id: int = 0,
        known_to: People | EllipsisType = ...,
        db: Connection | None = None,
    ) -> int:
        """Add entries, one for each bullet or block; returns how many were new.

        What the same people may know already, word for word, is left out. Headings in the texts
        go before `section`. With `session_id` the session is noted to be in the journal so far.
        JournalError for what is too long.
        """
        like = Entry(
            "", "", audience(people), room_id, tuple(messages), tuple(events), author, turn_id
        )
        reader = people if isinstance(known_to, EllipsisType) else known_to
        pieces = [piece for text in texts for piece in added(section, text, day)]
        async with self._writing(agent, db) as connection:
            before = await rows.live(connection, agent, day)
            known = {entry.text for entry in _visible(before, like.people)}
            fresh: dict[str, Entry] = {}
            for entry in _like(like, pieces):
                if entry.text not in known:
                    fresh.setdefault(entry.text, entry)
            new = list(fresh.values())
            _bounded(day, before, new)
            await rows.add(connection, agent, day, new)
            after = await self._settle(connection, agent, day, before)
            if session_id:
                await rows.journaled(connection, session_id)
                seen = await looks.looked(connection, session_id, look_name(day))
                then = journal(day, _visible(before, reader))
                if seen == then.hash or not then.entries:
                    now = journal(day, _visible(after, reader))
                    await looks.look(connection, session_id, look_name(day), now.hash)
        return len(new)

    async def rewrite(
        self,
        agent: str,
        day: date,
        markdown: str,
        *,
        seen: bytes,
        people: Sequence[str],
        known_to: People | EllipsisType = ...,
        room_id: str | None = None,
        messages: Sequence[int] = (),
        events: Sequence[str] = (),
        author: Author = "agent",
        turn_id: int | None = None,
        session_id: int = 0,
        db: Connection | None = None,
    ) -> Change:
        """Let what `known_to` may know of a day (as by itself, `people`) be this text.

        Entries that stay keep all that is known of them. JournalChanged when entries would be
        taken out and the journal is not the one with the hash `seen`; but a text that has all of
        what was seen is an addition, whatever others have added meanwhile.
        """
        reader = people if isinstance(known_to, EllipsisType) else known_to
        like = Entry(
            "", "", audience(people), room_id, tuple(messages), tuple(events), author, turn_id
        )
        wanted = _like(like, cut(markdown, day))
        async with self._writing(agent, db) as connection:
            before = await rows.live(connection, agent, day)
            visible = _visible(before, reader)
            match = _Match(wanted, visible, lambda entry: (entry.section, entry.text))
            gone = match.left
            if gone and journal(day, visible).hash != seen:
                staying = {entry.id for entry in match.entries}
                if journal(day, [e for e in visible if e.id in staying]).hash != seen:
                    raise JournalChanged(
                        f"The journal of {day} has entries that you have not seen in it."
                    )
                gone = []
            out = {entry.id for entry in gone}
            _bounded(day, [e for e in before if e.id not in out], match.new)
            await rows.remove(connection, list(out))
            ids = iter(await rows.add(connection, agent, day, match.new))
            written = [e if e.id else replace(e, id=next(ids)) for e in match.entries]
            await rows.arrange(connection, [entry.id for entry in written])
            await self._settle(connection, agent, day, before)
            if session_id:
                await rows.journaled(connection, session_id)
                now = journal(day, _visible(written, reader))
                await looks.look(connection, session_id, look_name(day), now.hash)
        return Change(len(match.new), len(gone), len(wanted) - len(match.new))

    async def bring_in(self, agent: str, day: date, entries: Sequence[Entry]) -> Change:
        """Let these be the entries that the day has from a file; all others stay as they are.

        What the day has already, from wherever, is not brought in once more.
        """
        async with self._writing(agent, None) as connection:
            before = await rows.live(connection, agent, day)
            match = _Match(entries, before, lambda entry: (entry.section, entry.text, entry.people))
            known = await rows.messages_of(
                connection, agent, sorted({event for entry in match.new for event in entry.events})
            )
            new = [
                replace(e, messages=tuple(known[event] for event in e.events if event in known))
                for e in match.new
            ]
            gone = [entry for entry in match.left if entry.imported]
            await rows.remove(connection, [entry.id for entry in gone])
            ids = iter(await rows.add(connection, agent, day, new))
            await rows.arrange(connection, [e.id or next(ids) for e in match.entries])
            await self._settle(connection, agent, day, before)
        return Change(len(new), len(gone), len(entries) - len(new))

    async def index(self, agent: str, day: date, db: Connection | None = None) -> None:
        """Index a day anew, for who has taken passages of it out of the index."""
        async with self._writing(agent, db) as connection:
            for group in _groups(await rows.live(connection, agent, day)).items():
                await _index(connection, agent, day, *group)

    async def withdraw(self, db: Connection, room_id: str, event_id: str) -> None:
        """Take out the entries that were made of a message, which its sender took back."""
        for (agent, day), ids in (await rows.made_of(db, room_id, event_id)).items():
            await self.forget(agent, day, ids, db)

    async def forget(
        self, agent: str, day: date, ids: Sequence[int], db: Connection | None = None
    ) -> None:
        """Take these entries out of a day."""
        async with self._writing(agent, db) as connection:
            before = await rows.live(connection, agent, day)
            await rows.remove(connection, ids)
            await self._settle(connection, agent, day, before)

    @asynccontextmanager
    async def _writing(self, agent: str, db: Connection | None) -> AsyncIterator[Connection]:
        if db is not None:
            await passages.lock(db, agent)
            yield db
            return
        async with self._pool.acquire() as connection, connection.transaction():
            # The lock that the index is written under: a second one could be waited for crosswise.
            await passages.lock(connection, agent)
            yield connection

    async def _settle(
        self, db: Connection, agent: str, day: date, before: Sequence[Entry]
    ) -> list[Entry]:
        """Index what has changed; returns the day's entries as they are now."""
        after = await rows.live(db, agent, day)
        old, new = _groups(before), _groups(after)
        for key in old.keys() | new.keys():
            if old.get(key) != new.get(key):
                await _index(db, agent, day, key, new.get(key, []))
        return after


class _Match:
    """Which of the entries wanted are there already: `entries` has them in their place."""

    def __init__(self, wanted: Sequence[Entry], present: Sequence[Entry], key: Any) -> None:
        free: dict[Any, list[Entry]] = {}
        for entry in present:
            free.setdefault(key(entry), []).append(entry)
        self.entries = [
            found.pop(0) if (found := free.get(key(entry))) else entry for entry in wanted
        ]
        self.new = [entry for entry in self.entries if not entry.id]
        self.left = [entry for entries in free.values() for entry in entries]


def _like(like: Entry, pieces: Iterable[Piece]) -> list[Entry]:
    return [replace(like, section=piece.section, text=piece.text) for piece in pieces]


def _visible(entries: Iterable[Entry], people: People) -> list[Entry]:
    """Those that all of the people may know, as the database would say."""
    if people is None:
        return list(entries)
    return [e for e in entries if "*" in e.people or set(people) <= set(e.people)]


def _bounded(day: date, there: Iterable[Entry], new: Sequence[Entry]) -> None:
    for entry in new:
        if len(entry.section) > SECTION:
            raise JournalError(f"{entry.section[:60]!r} … is too long for the name of a section.")
        if len(entry.text) > ENTRY:
            raise JournalError(
                f"An entry has {len(entry.text):,} characters; at most {ENTRY:,} are kept. Make "
                f"several entries of it, or a shorter one. It begins: {entry.text[:60]!r}"
            )
    total = sum(len(entry.text) for entry in (*there, *new))
    if new and total > DAY:
        raise JournalError(
            f"The journal of {day} would have {total:,} characters; a day holds at most {DAY:,}. "
            "Say it shorter, or shorten the day by rewriting it."
        )


_Group = tuple[tuple[str, ...], str | None]


def _groups(entries: Iterable[Entry]) -> dict[_Group, list[Entry]]:
    groups: dict[_Group, list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.people, entry.room_id), []).append(entry)
    return groups


async def _index(
    db: Connection, agent: str, day: date, group: _Group, entries: Sequence[Entry]
) -> None:
    """A group's own text, under the headings of its sections."""
    people, room_id = group
    found = list(lines(entries))
    events = {n: entry.events for n, (_, entry) in enumerate(found, 1) if entry and entry.events}
    markdown = "\n".join(line for line, _ in found)
    await index.keep_journal(db, agent, day, markdown, people, room_id, events)
