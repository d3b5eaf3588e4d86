"""What agents remember: searched, shown, forgotten, and indexed anew.

The operator sees all of it: who was there when it was said does not matter here.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from memtrix_as.admin import confirm
from memtrix_as.admin.command import Ask, Call, command, quoted
from memtrix_as.admin.tables import CELL, Cell, facts, table, words
from memtrix_as.admin.when import day_of
from memtrix_as.admin.words import amount
from memtrix_as.agent.people import People
from memtrix_as.db import forgetting
from memtrix_as.db.agents import Agent
from memtrix_as.db.forgetting import Passage
from memtrix_as.db.journals import Entry
from memtrix_as.errors import AdminError
from memtrix_as.memory.index import journal_source
from memtrix_as.memory.journals import Journals
from memtrix_as.memory.keeper import Keeper
from memtrix_as.memory.recall import permalink
from memtrix_as.memory.search import Hit, search

HITS = 10
SHOWN = 140  # characters of a hit
PREVIEW = 8  # lines of what will be forgotten
LONGEST_DAY = 12_000  # characters of a journal that are shown
MOST = 50  # passages that are forgotten at once
_ID = re.compile(r"#([0-9]{1,9})(?:\.([0-9]{1,3}))?")  # of a passage, or a place in it
LOOK = 5.0  # seconds between two looks at how far the index is
NOTHING = "Nothing in the memory of {agent} fits that."
HOW = "`memory forget {agent} #{id}` forgets the first of them; several ids may follow each other."


async def _agent(call: Call, name: str) -> Agent:
    people: People = call.get(People)
    return await people.find(name)


async def _hits(call: Call, agent: Agent, text: str) -> str:
    """A table of what fits a text, each with the id by which it can be forgotten."""
    keeper: Keeper = call.get(Keeper)
    hits = await search(
        call.means.pool, keeper.embedders, text, agent=agent.name, people=None, limit=HITS
    )
    if not hits:
        return NOTHING.format(agent=words(agent.display_name))
    rows = [(Cell(f"#{hit.id}"), _day(hit), f"{hit.score:.2f}", _text(hit)) for hit in hits]
    shown = table(("id", "day", "score", "says"), rows)
    return f"{shown}\n\n{HOW.format(agent=_typed(agent), id=hits[0].id)}"


def _day(hit: Hit) -> Cell:
    link = permalink(hit.room_id, hit.event) if hit.room_id and hit.event else ""
    # A room id is what a server made up; what could end the link is left out of it.
    sound = link and not any(c in link for c in "()<>| \n")
    return Cell(f"[{hit.day}]({link})" if sound else f"{hit.day}")


def _text(hit: Hit) -> Cell:
    where = "journal" if hit.source.startswith("journal") else "said"
    text = " / ".join(s for line in hit.text.splitlines() if (s := line.strip().lstrip("-* ")))
    return Cell(f"*{where}:* {words(text, SHOWN)}")


def _typed(agent: Agent) -> str:
    """The agent's name as it has to be typed."""
    name = agent.display_name
    plain = name if name.isprintable() and "`" not in name else agent.name
    return f'"{plain}"' if " " in plain else plain


@command(
    "memory search AGENT WORDS…",
    "shows what an agent remembers of something, whoever told it",
    example="memory search Memtrix red bicycle",
    private=True,
    commits=True,
)
async def search_(call: Call, name: str, text: str) -> str:
    return await _hits(call, await _agent(call, name), text)


@command(
    "memory show AGENT [DAY]",
    "shows an agent's journal of a day (the last one, if none is named), and how much there is",
    example="memory show Memtrix yesterday",
    private=True,
    commits=True,
)
async def show(call: Call, name: str, wanted: str) -> str:
    agent = await _agent(call, name)
    journals: Journals = call.get(Journals)
    zone = str(call.means.config.timezone)
    days = await journals.days(agent.name, None)
    today = journals.today()
    day = day_of(wanted, today) if wanted else (days[-1] if days else today)
    whole = await forgetting.counts(call.means.pool, agent.name, zone)
    of_day = await forgetting.counts(call.means.pool, agent.name, zone, day)
    journal = await journals.read(agent.name, day, None)
    shown = facts(
        [
            (
                "all",
                f"{amount(whole.days, 'day')} with a journal"
                + (f" from {days[0]} to {days[-1]}" if days else "")
                + f", {amount(whole.messages, 'message')}, {amount(whole.passages, 'passage')}",
            ),
            (
                str(day),
                f"{amount(of_day.entries, 'journal entry')}, {amount(of_day.messages, 'message')}, "
                f"{amount(of_day.passages, 'passage')}",
            ),
        ]
    )
    text = journal.markdown
    if len(text) > LONGEST_DAY:
        text = f"{text[:LONGEST_DAY]}\n\n… ({len(text):,} characters)"
    return f"{shown}\n\n{text}" if text else f"{shown}\n\nThe journal of {day} is empty."


@dataclass(frozen=True, slots=True)
class _Thing:
    """A journal entry or a message that a passage was cut from; `label` is what it is called."""

    label: str
    text: str
    day: date
    entry: int = 0
    message: int = 0


async def _things(call: Call, agent: Agent, passage: Passage) -> list[_Thing]:
    """What a passage was cut from, each called by the passage's id and its place there."""
    texts: dict[int, list[str]] = {}
    if passage.source.startswith("room "):
        for message, part in zip(passage.messages, passage.parts, strict=False):
            texts.setdefault(message, []).append(part)
    else:
        journals: Journals = call.get(Journals)
        for entry in (await journals.read(agent.name, passage.day, None)).entries:
            if _is_in(entry, passage):
                texts[-entry.id] = [entry.text]
    return [
        _Thing(
            f"#{passage.id}.{n}", " ".join(parts).lstrip("-* "), passage.day,
            entry=max(0, -key), message=max(0, key),
        )
        for n, (key, parts) in enumerate(texts.items(), 1)
    ]  # fmt: skip


def _is_in(entry: Entry, passage: Passage) -> bool:
    """Whether a passage has lines of a journal's entry: whole, or a piece of a long one."""
    if journal_source(passage.day, entry.people, entry.room_id) != passage.source:
        return False
    lines = {line.strip() for line in entry.text.splitlines() if line.strip()}
    return any(
        part.strip() in lines or (len(part) > CELL and part.strip() in entry.text)
        for part in passage.parts
    )


async def _doomed(call: Call, agent: Agent, wanted: Sequence[tuple[int, int]]) -> list[_Thing]:
    """What is to be forgotten: all of a passage, or what stands at one place of it."""
    ids = sorted({passage for passage, _ in wanted})
    if len(ids) > MOST:
        raise AdminError(f"At most {MOST} passages can be forgotten at once.")
    found = {p.id: p for p in await forgetting.found(call.means.pool, agent.name, ids)}
    doomed: dict[tuple[int, int], _Thing] = {}
    for passage, place in wanted:
        things = await _things(call, agent, found[passage]) if passage in found else []
        if not things or place > len(things):
            lost = f"#{passage}.{place}" if place else f"#{passage}"
            raise AdminError(
                f"{words(agent.display_name)} has no passage {quoted(lost)} (any more). "
                f"`memory forget {_typed(agent)} WORDS` shows the ids."
            )
        for thing in things[place - 1 : place] if place else things:
            doomed.setdefault((thing.entry, thing.message), thing)
    return list(doomed.values())


async def _forgotten(call: Call, details: Mapping[str, Any]) -> str:
    agent = str(details["agent"])
    journals: Journals = call.get(Journals)
    keeper: Keeper = call.get(Keeper)
    count = 0
    async with call.means.pool.acquire() as connection, connection.transaction():
        for day, ids in details["entries"].items():
            await journals.forget(agent, date.fromisoformat(day), ids, connection)
            count += len(ids)
        blanked = await forgetting.blank(connection, agent, details["messages"])
    keeper.wake()  # what else was said on those days is cut anew
    return f"Forgotten: {amount(count, 'journal entry')} and {amount(blanked, 'message')}."


@command(
    "memory forget AGENT WORDS…",
    "takes something out of an agent's memory: with words it shows what fits, with #ids it forgets",
    example="memory forget Memtrix #12 #14",
    then=_forgotten,
    private=True,
    commits=True,
)
async def forget(call: Call, name: str, what: str) -> str | Ask:
    agent = await _agent(call, name)
    wanted = [_ID.fullmatch(word) for word in what.split()]
    if not all(wanted):
        return await _hits(call, agent, what)
    ids = [(int(found[1]), int(found[2] or 0)) for found in wanted if found]
    return await _asked(call, agent, await _doomed(call, agent, ids))


async def _asked(call: Call, agent: Agent, doomed: Sequence[_Thing]) -> Ask:
    messages = sorted({thing.message for thing in doomed} - {0})
    entries: dict[date, set[int]] = {}
    for thing in doomed:
        if thing.entry:
            entries.setdefault(thing.day, set()).add(thing.entry)
    # What was written down of a message is forgotten with it.
    for day, made in (await forgetting.made_of(call.means.pool, agent.name, messages)).items():
        entries.setdefault(day, set()).update(made)
    lines = [f"- {thing.label} {words(thing.text, SHOWN)}" for thing in doomed[:PREVIEW]]
    if (more := len(doomed) - PREVIEW) > 0:
        lines.append(f"- and {more} more")
    summaries = await forgetting.summarised(call.means.pool, agent.name, messages)
    also = f", and {amount(summaries, 'summary')} of older conversation" if summaries else ""
    single = (
        f" `memory forget {_typed(agent)} {doomed[0].label}` forgets the first alone."
        if len(doomed) > 1
        else ""
    )
    return Ask(
        f"{words(agent.display_name)} forgets "
        f"{amount(sum(map(len, entries.values())), 'journal entry')} and "
        f"{amount(len(messages), 'message')}{also}:\n\n" + "\n".join(lines) + "\n\nThis cannot "
        "be taken back. In the rooms themselves, in the agent's files and in the memory of other "
        f"agents it stays.{single}",
        {
            "agent": agent.name,
            "entries": {day.isoformat(): sorted(ids) for day, ids in entries.items()},
            "messages": messages,
        },
    )


async def _reindexed(call: Call, details: Mapping[str, Any]) -> str:
    agent: str | None = details["agent"]
    keeper: Keeper = call.get(Keeper)
    journals: Journals = call.get(Journals)
    if agent is None and keeper.embedders:
        await keeper.renew()
    async with call.means.pool.acquire() as connection, connection.transaction():
        days = await forgetting.cut_anew(connection, agent)
    keeper.wake()
    for each, day in days:
        await journals.index(each, day)
    progress, turns = await keeper.progress()
    async with call.means.pool.acquire() as connection:
        begun = (
            f"Indexing has begun: {amount(progress.total, 'passage')}, and "
            f"{amount(turns, 'turn')} to be cut into such. I tell you when it is done."
        )
        await confirm.say(call, connection, begun)
    call.means.chat.post(call.item.lane)
    while turns or not await keeper.renewed() or (keeper.embedders and _left(progress)):
        if keeper.trouble:
            return f"Words are indexed; vectors have to wait: {keeper.trouble}"
        await asyncio.sleep(LOOK)
        progress, turns = await keeper.progress()
    return f"Indexing is done: {amount(progress.total, 'passage')}."


def _left(progress: Any) -> bool:
    return bool(progress.done < progress.total)


@command(
    "memory reindex [AGENT]",
    "makes the index of memory anew, of all agents with all vectors; searches go on meanwhile",
    example="memory reindex",
    then=_reindexed,
    slow=True,
)
async def reindex(call: Call, name: str) -> Ask:
    agent = await _agent(call, name) if name else None
    keeper: Keeper = call.get(Keeper)
    progress, _ = await keeper.progress()
    if agent is None:
        what = f"All {amount(progress.total, 'passage')} of memory are cut anew"
        if keeper.embedders:
            what += ", and each gets a new vector; until all have one, the old ones serve"
    else:
        count = await forgetting.counts(
            call.means.pool, agent.name, str(call.means.config.timezone)
        )
        what = (
            f"The {amount(count.passages, 'passage')} of {words(agent.display_name)} are cut anew "
            f"from its journals and conversations; those that stay the same keep their vectors"
        )
    took = " This can take a while." if progress.total > 1000 else ""
    return Ask(f"{what}.{took}", {"agent": agent.name if agent else None})
