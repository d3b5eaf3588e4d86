"""Searching the memory."""

from datetime import date
from typing import Annotated

from pydantic import Field

from memtrix_as.memory.recall import Recollection, told
from memtrix_as.tool import ToolContext, tool

NOTHING = (
    "Nothing in memory fits {query!r}{when}. Try other words or names, or another range of days; "
    "if that finds nothing either, say that you do not remember."
)


@tool(repeatable=True, harmless=True)
async def search_memory(
    ctx: ToolContext,
    query: str,
    first_day: date | None = None,
    last_day: date | None = None,
    limit: Annotated[int, Field(ge=1, le=20)] = 5,
) -> str:
    """Search journals and past conversations by words and by meaning.

    Finds what was said or written on any day, in any room, as far as those who are present may
    know it. Use it before you say that you do not know or remember something.

    Args:
        query: What you look for: a question, or the words, names and numbers that matter.
        first_day: Only from this day on, as 2026-03-18.
        last_day: Only up to this day, as 2026-03-18.
        limit: How many passages, at most.
    """
    hits = await ctx.get(Recollection).search(
        ctx.place.agent, ctx.place.room_id, ctx.sender, query, first=first_day, last=last_day,
        limit=limit,
    )  # fmt: skip
    if not hits:
        when = f" from {first_day}" * bool(first_day) + f" until {last_day}" * bool(last_day)
        return NOTHING.format(query=query[:200], when=when)
    found = [f"{told(hit, link=True)}\n  (score {hit.score:.2f})" for hit in hits]
    return "Best first; the newest may correct older ones.\n" + "\n".join(found)
