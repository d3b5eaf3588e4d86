"""The journal: what the agent notes of each day, and reads again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date as Day
from datetime import datetime, timedelta
from typing import Any

from memtrix_as.errors import JournalChanged, JournalError, ToolError
from memtrix_as.memory.company import Companies
from memtrix_as.memory.journal_text import added, cut, titled
from memtrix_as.memory.journals import Journals, lost
from memtrix_as.tool import ToolContext, tool

PAGE = 8_000  # characters shown at once
MOST = 0.5  # of a day's words: a rewrite without more than these needs the human's yes


@dataclass(frozen=True)
class _Present:
    """For whom a turn reads and writes, and what it answers."""

    today: Day  # when the turn began: at midnight it does not change under its hands
    people: tuple[str, ...]  # who may know what is written
    known_to: tuple[str, ...] | None  # for whom what is read must be fit
    event_id: str
    message_id: int | None


async def _present(ctx: ToolContext) -> _Present:
    journals, companies = ctx.get(Journals), ctx.get(Companies)
    asked = await journals.asked(ctx.turn_id)
    company = await companies.of(ctx.place.room_id, speaker=ctx.sender)
    heard = company.people if asked is None or asked.people is None else asked.people
    people = tuple(user for user in heard if user in company.people) or (ctx.sender,)
    return _Present(
        journals.today(asked.started_at if asked else None),
        people,
        company.known_to,
        asked.event_id if asked else ctx.event_id,
        asked.message_id if asked else None,
    )


def _day(date: str | None, today: Day) -> Day:
    asked = (date or "today").strip().lower()
    if asked in ("today", "yesterday"):
        return today - timedelta(days=asked == "yesterday")
    try:
        return datetime.strptime(asked, "%Y-%m-%d").date()
    except ValueError:
        raise ToolError(
            f"{date!r} is not a day. Give it as {today.isoformat()}, or as today or yesterday."
        ) from None


@tool(repeatable=True, harmless=True)
async def read_memory_file(ctx: ToolContext, date: str | None = None, offset: int = 0) -> str:
    """Read your journal of a day: today's, or that of any day before.

    Args:
        date: The day as 2026-03-18, or "yesterday"; today if it is left out.
        offset: Where to read on in a long day, as the answer before said.
    """
    here, journals = await _present(ctx), ctx.get(Journals)
    day, agent = _day(date, here.today), ctx.place.agent
    found = await journals.read(agent, day, here.known_to)
    name = _named(day, here.today)
    length = len(found.markdown)
    if not 0 <= offset <= max(0, length - 1):
        raise ToolError(f"The journal of {name} has {length} characters: read from 0 on.")
    end = length
    if length - offset > PAGE:
        end = found.markdown.rfind("\n", offset, offset + PAGE) + 1 or offset + PAGE
    await journals.look(ctx.session_id, found, offset, end)
    if not found.entries:
        return f"The journal of {name} is empty. {await _nearest(journals, agent, day, here)}"
    text = found.markdown[offset:end]
    if end < length or offset:
        rest = f"; read on with offset={end}" if end < length else ", the end"
        text += f"\n(Journal of {name}, characters {offset} to {end} of {length}{rest}.)"
    return text


def _named(day: Day, today: Day) -> str:
    return f"{day.isoformat()} ({'today' if day == today else format(day, '%A')})"


async def _nearest(journals: Journals, agent: str, day: Day, here: _Present) -> str:
    days = await journals.days(agent, here.known_to)
    near = [other for other in days if other < day][-2:] + [d for d in days if d > day][:2]
    if not near:
        return "No other day has entries either."
    return f"The nearest days with entries: {', '.join(map(str, near))}."


async def _loses_most(ctx: ToolContext, arguments: Mapping[str, Any]) -> str | None:
    """The question to the human when a rewrite would leave little of a day."""
    content, date = arguments.get("content"), arguments.get("date")
    if arguments.get("section") or not isinstance(content, str) or not isinstance(date, str | None):
        return None
    here, journals = await _present(ctx), ctx.get(Journals)
    try:
        day = _day(date, here.today)
    except ToolError:
        return None  # it is told when the tool runs
    found = await journals.read(ctx.place.agent, day, here.known_to)
    if await journals.looked(ctx.session_id, day) != found.hash:
        return None  # it is refused, or adds to what there is
    gone = lost(found.markdown, content)
    if gone <= MOST:
        return None
    return f"Rewrite the journal of {day}? {gone:.0%} of its words would be taken out."


@tool(alone=True, repeatable=True, confirm_if=_loses_most)
async def write_memory_file(
    ctx: ToolContext, content: str, section: str | None = None, date: str | None = None
) -> str:
    """Write into your journal. With a section, the content is added to it: no reading needed.

    Without a section the content is the whole day's journal, rewritten; then read the day first.

    Args:
        content: Markdown. To add: one bullet for each entry, as "- Anna's boat is called Nessie."
        section: Conversations, Learned, Decisions, Tasks or Notes.
        date: The day as 2026-03-18, or "yesterday"; today if it is left out.
    """
    here = await _present(ctx)
    day = _day(date, here.today)
    if not content.strip():
        raise ToolError("There is nothing to write: content is empty.")
    headed = titled(content)
    if headed and headed != day and not section:
        raise ToolError(
            f"The text is headed {headed}, but it would be written into {day}. Say the day with "
            f"date={str(headed)!r}, or leave that heading out."
        )
    try:
        if section and section.strip():
            return await _append(ctx, here, day, section, content)
        return await _rewrite(ctx, here, day, content)
    except JournalChanged as exc:
        raise ToolError(
            f"Nothing was written. {exc} Read it with read_memory_file(date={str(day)!r}) and "
            "write it whole, or name a section to add to."
        ) from exc
    except JournalError as exc:
        raise ToolError(f"Nothing was written. {exc}") from exc


async def _append(ctx: ToolContext, here: _Present, day: Day, section: str, content: str) -> str:
    pieces = added(section, content, day)
    if not pieces:
        raise ToolError("There is nothing to write: content has headings only.")
    count = await ctx.get(Journals).append(
        ctx.place.agent, day, section, [content], known_to=here.known_to, **_links(ctx, here)
    )
    names = ", ".join(dict.fromkeys(piece.section or "the beginning" for piece in pieces))
    if not count:
        return f"The journal of {day} has that already, word for word."
    return f"Added {_entries(count)} to {names} in the journal of {day}."


async def _rewrite(ctx: ToolContext, here: _Present, day: Day, content: str) -> str:
    if not cut(content, day):
        raise ToolError("There is nothing to write: content has headings only.")
    journals = ctx.get(Journals)
    seen = await journals.looked(ctx.session_id, day)
    change = await journals.rewrite(
        ctx.place.agent, day, content, seen=seen or b"", known_to=here.known_to, **_links(ctx, here)
    )
    return (
        f"Wrote the journal of {day}: {_entries(change.added)} new, {change.kept} as before, "
        f"{change.removed} taken out."
    )


def _links(ctx: ToolContext, here: _Present) -> dict[str, Any]:
    return {
        "people": here.people,
        "room_id": ctx.place.room_id,
        "messages": [here.message_id] if here.message_id else [],
        "events": [here.event_id] if here.event_id else [],
        "turn_id": ctx.turn_id or None,
        "session_id": ctx.session_id,
    }


def _entries(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"
