"""Upkeep: when a session is quiet, what its agent did not write down goes into the journal."""

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from memtrix_as.agent import context, courtesy
from memtrix_as.agent.means import Account, Means, NamedModel
from memtrix_as.db import agents
from memtrix_as.db import upkeep as rows
from memtrix_as.db.inbox import Item
from memtrix_as.db.pool import DOWN, Pool
from memtrix_as.db.queue import Lease
from memtrix_as.db.upkeep import KIND, Line
from memtrix_as.errors import BudgetSpent, ConfigError, GaveWay, ModelError
from memtrix_as.memory.journals import Journals
from memtrix_as.memory.passages import SECTIONS
from memtrix_as.memory.words import telling, words
from memtrix_as.messages import Message, Place

__all__ = ["KIND", "Upkeep", "condense"]

log = logging.getLogger(__name__)

TRIES = 3  # after which humans were let go first often enough; the next hour brings it back
SHARE = 0.5  # of an entry's telling words that must stand in the messages that it names
LONGEST_LINE = 2000  # characters of a message that are shown

ASK = """\
You keep the journal of the assistant {name}. Below is a part of a conversation, one message a \
line, each with its number. Write down what is worth remembering on a later day: facts about the \
people, decisions, tasks, and in one or two lines what the conversation was about.

One entry a line, in this form and nothing else:
Section: the entry in one sentence [numbers of the messages that say so]

Section is one of Conversations, Learned, Decisions, Tasks, Notes. Use the language and the very \
words, names and numbers of the conversation. Write nothing that is not said there. If nothing is \
worth remembering, write: nothing"""

_ENTRY = re.compile(
    r"\s*(?:[-*]\s*)?\**(?P<section>[A-Z][a-z]+)\**:\**\s*(?P<text>.+?)\s*"
    r"\[(?P<numbers>[#\d,;\s\u2013-]+)\]\.?\s*$"
)
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line for the journal, with the messages that bear it out."""

    section: str
    text: str
    lines: tuple[Line, ...]


class Upkeep:
    """Asks for the upkeep of sessions that have been quiet for `quiet` minutes."""

    def __init__(self, pool: Pool, quiet: float, human: str | None = None, room: str = "") -> None:
        """At a terminal: for what this human said at terminals, done in the lanes of this room."""
        self._pool = pool
        self._quiet = timedelta(minutes=quiet)
        self._human, self._room = human, room

    async def run(self) -> None:
        """Until it is cancelled; sleeps until the next session can be due."""
        while True:
            pause = self._quiet
            try:
                pause = await self._ask()
            except DOWN as exc:
                log.warning("Upkeep waits for the database: %s", exc)
            await asyncio.sleep(max(pause.total_seconds(), 0.2))

    async def _ask(self) -> timedelta:
        now = datetime.now(UTC)
        pause = self._quiet
        for session in await rows.unseen(self._pool, self._human):
            due = session.since + self._quiet
            if due <= now:
                await rows.ask(self._pool, session, now, self._room)
            else:
                pause = min(pause, due - now)
        return pause


async def condense(means: Means, item: Item, _: Lease) -> bool:
    """Write the journal entries of a quiet session; a failure is tried again within the hour.

    The model has no tools here: it can read what was said, and write down what is borne out by it.
    """
    session, newest = int(item.payload["session"]), int(item.payload["newest"])
    zone = str(means.config.timezone)
    agent = await agents.get(means.pool, item.agent)
    journals: Journals = means.services[Journals]
    place = Place(item.room_id, item.agent)
    account = Account(place, agent.display_name, "upkeep", item.lane)
    try:
        model = means.models.get(agent.model, account)
        for day, said in groupby(
            await rows.load(means.pool, session, newest, zone), lambda line: line.day
        ):
            lines = list(said)
            entries = []
            for part in _parts(lines, context.budget(model.context, 500)):
                entries += await _entries(means, agent, model, part)
            async with means.pool.acquire() as connection, connection.transaction():
                if not await rows.seen(connection, session, lines[-1].id):
                    return False  # the agent wrote a journal itself meanwhile
                for entry in entries:
                    people = rows.common([line.people for line in entry.lines])
                    if not people:
                        continue  # nobody heard all of it
                    await journals.append(
                        item.agent, day, entry.section, [entry.text],
                        people=people,
                        room_id=item.room_id, messages=[line.id for line in entry.lines],
                        events=[line.event for line in entry.lines if line.event],
                        author="upkeep", db=connection,
                    )  # fmt: skip
            log.info("Upkeep of %s: %d journal entries for %s", item.agent, len(entries), day)
    except (ModelError, ConfigError) as exc:
        level = logging.INFO if isinstance(exc, BudgetSpent | GaveWay) else logging.WARNING
        log.log(level, "The journal of %s could not be kept up: %s", item.agent, exc)
        return False
    async with means.pool.acquire() as connection:
        await rows.seen(connection, session, newest)
    return False


def _parts(lines: Sequence[Line], limit: int) -> list[list[Line]]:
    """The messages in runs that fit into `limit` tokens."""
    parts: list[list[Line]] = []
    size = limit + 1
    for line in lines:
        cost = context.tokens(Message("user", line.text[:LONGEST_LINE])) + 8
        if size + cost > limit:
            parts.append([])
            size = 0
        parts[-1].append(line)
        size += cost
    return parts


async def _entries(
    means: Means, agent: agents.Agent, model: NamedModel, lines: Sequence[Line]
) -> list[Entry]:
    said = "\n".join(
        f"[{n}] {line.speaker}: {line.text[:LONGEST_LINE].removeprefix(f'{line.speaker}: ')}"
        for n, line in enumerate(lines, 1)
    )
    prompt = [Message("system", ASK.format(name=agent.display_name)), Message("user", said)]
    timeout = means.config.limits.turn_timeout
    made = await courtesy.reply(means, agent.model, model, prompt, timeout=timeout, tries=TRIES)
    return read(made.message.text, lines) if made else []


def read(answer: str, lines: Sequence[Line]) -> list[Entry]:
    """The entries of a model's answer that the messages which they name bear out."""
    entries = []
    for line in answer.splitlines():
        match = _ENTRY.match(line)
        if match is None:
            continue
        cited = [lines[n - 1] for n in _numbers(match["numbers"]) if 0 < n <= len(lines)]
        section = match["section"] if match["section"] in SECTIONS else "Notes"
        if cited and borne_out(match["text"], cited):
            entries.append(Entry(section, match["text"].strip(), tuple(cited)))
        else:
            log.info("Upkeep left out an entry that its messages do not bear out")
    return entries


def _numbers(text: str) -> list[int]:
    """Message numbers as models write them: "3, 5", "3-5", "#3; #5"."""
    found: list[int] = []
    for first, last in re.findall(r"(\d{1,6})(?:\s*[-\u2013]\s*#?(\d{1,6}))?", text):
        found += range(int(first), min(int(last or first), int(first) + 50) + 1)
    return sorted(set(found))


def borne_out(text: str, cited: Sequence[Line]) -> bool:
    """Whether the messages say what an entry says, as far as words can tell.

    Every number and every name of it must stand in them, and most of its other words.
    """
    said = " ".join(f"{line.speaker}: {line.text}" for line in cited)
    there = set(words(said))
    names = [
        name for name in re.findall(r"(?<!^)(?<![.!?] )\b[^\W\d_]\w+", text) if name[0].isupper()
    ]
    certain = [*_NUMBER.findall(text), *names]
    if not all(set(words(each)) <= there for each in certain):
        return False
    told = telling(words(text))
    return bool(told) and sum(word in there for word in told) >= SHARE * len(told)
