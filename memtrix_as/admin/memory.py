"""What agents remember: searched, shown, forgotten, and indexed anew.

The operator sees all of it: who was there when it was said does not matter here.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from memtrix_as.admin import confirm
from memtrix_as.admin.command import Ask, Call, command, quoted
from memtrix_as.admin.people import People
from memtrix_as.admin.tables import CELL, Cell, facts, table, words
from memtrix_as.admin.when import day_of
from memtrix_as.admin.words import amount, number
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
    text = " / ".join(line.strip() for line in hit.text.splitlines() if line.strip())
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


@dataclass
class _Doomed:
    """What goes with some passages."""

    passages: list[int] = field(default_factory=list)
    entries: dict[date, set[int]] = field(default_factory=dict)  # by day
    messages: set[int] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)

    @property
    def entry_count(self) -> int:
        return sum(map(len, self.entries.values()))


async def _doomed(call: Call, agent: Agent, found: Sequence[Passage]) -> _Doomed:
    journals: Journals = call.get(Journals)
    doomed = _Doomed([passage.id for passage in found])
    for passage in found:
        if passage.source.startswith("room "):
            doomed.messages |= set(passage.messages)
            doomed.lines += passage.parts
            continue
        entries = (await journals.read(agent.name, passage.day, None)).entries
        for entry in entries:
            if _is_in(entry, passage):
                doomed.entries.setdefault(passage.day, set()).add(entry.id)
                doomed.lines.append(entry.text)
    if doomed.messages:
        made = await forgetting.made_of(call.db, agent.name, sorted(doomed.messages))
        for day, ids in made.items():
            doomed.entries.setdefault(day, set()).update(ids)
    return doomed


def _is_in(entry: Entry, passage: Passage) -> bool:
    """Whether a passage has lines of a journal's entry: whole, or a piece of a long one."""
    if journal_source(passage.day, entry.people, entry.room_id) != passage.source:
        return False
    lines = {line.strip() for line in entry.text.splitlines() if line.strip()}
    return any(
        part.strip() in lines or (len(part) > CELL and part.strip() in entry.text)
        for part in passage.parts
    )


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
    given = what.split()
    ids = [number(word) for word in given] if all(word[0] == "#" for word in given) else []
    if not ids or None in ids:
        return await _hits(call, agent, what)
    wanted = sorted({n for n in ids if n})
    if len(wanted) > MOST:
        raise AdminError(f"At most {MOST} passages can be forgotten at once.")
    found = await forgetting.found(call.db, agent.name, wanted)
    if len(found) < len(wanted):
        lost = [f"#{n}" for n in wanted if n not in {p.id for p in found}]
        raise AdminError(
            f"{words(agent.display_name)} has no passage {quoted(', '.join(lost))} (any more). "
            f"`memory forget {_typed(agent)} WORDS` shows the ids."
        )
    return await _asked(call, agent, await _doomed(call, agent, found))


async def _asked(call: Call, agent: Agent, doomed: _Doomed) -> Ask:
    messages = sorted(doomed.messages)
    lines = [f"- {words(line, SHOWN)}" for line in doomed.lines[:PREVIEW]]
    if (more := len(doomed.lines) - PREVIEW) > 0:
        lines.append(f"- and {more} more")
    summaries = await forgetting.summarised(call.db, agent.name, messages)
    also = f", and {amount(summaries, 'summary')} of older conversation" if summaries else ""
    return Ask(
        f"{words(agent.display_name)} forgets {amount(doomed.entry_count, 'journal entry')} and "
        f"{amount(len(messages), 'message')}{also}:\n\n" + "\n".join(lines) + "\n\nThis cannot "
        "be taken back. In the rooms themselves, in the agent's files and in the memory of other "
        "agents it stays.",
        {
            "agent": agent.name,
            "entries": {day.isoformat(): sorted(ids) for day, ids in doomed.entries.items()},
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
