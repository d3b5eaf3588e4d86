"""The core files: what the agent is like, and what it knows of its human."""

from collections.abc import Mapping
from typing import Any

from memtrix_as.db import looks
from memtrix_as.db.pool import clean
from memtrix_as.errors import ToolError
from memtrix_as.memory import prompt
from memtrix_as.memory.company import Companies
from memtrix_as.memory.persona import CHANGEABLE, OWNERS, Persona, hash_of, loss
from memtrix_as.tool import ToolContext, tool

AGENT_IS_YOURS = (
    "AGENT.md is your system prompt, and your human's alone: they change it with an editor. "
    "What you know of them belongs in USER.md or MEMORY.md, how you behave in BEHAVIOR.md."
)
QUESTION = (
    "{file} would lose most of what is in it: of {total} words {kept} stay. Write it anew? "
    '("/persona undo {file}" would bring the old text back.)'
)


@tool(repeatable=True, harmless=True)
async def read_core_file(ctx: ToolContext, filename: str) -> str:
    """Read one of the files that make you who you are, as it is now.

    Args:
        filename: SOUL.md, BEHAVIOR.md, USER.md or MEMORY.md.
    """
    file = _named(filename)
    await _allowed(ctx, file, change=False)
    persona = ctx.get(Persona)
    text = await persona.read(ctx.place.agent, file)
    await looks.look(persona.pool, ctx.session_id, file, hash_of(text))
    return text if text.strip() else prompt.NOTHING


async def _question(ctx: ToolContext, arguments: Mapping[str, Any]) -> str | None:
    """Ask before most of a file goes; what would be refused anyway is not asked about."""
    filename, content = arguments.get("filename"), arguments.get("content")
    if not isinstance(filename, str) or not isinstance(content, str):
        return None
    file = _named(filename)
    await _allowed(ctx, file, change=True)
    persona = ctx.get(Persona)
    old, new = await persona.read(ctx.place.agent, file), _text(content)
    lost = loss(old, new)
    if lost is None or len(new) > persona.largest or hash_of(old) != await _looked(ctx, file):
        return None
    return QUESTION.format(file=file, kept=lost[0], total=lost[1])


@tool(alone=True, repeatable=True, confirm_if=_question)
async def write_core_file(ctx: ToolContext, filename: str, content: str) -> str:
    """Replace one of the files that make you who you are. Read it with read_core_file first.

    Args:
        filename: SOUL.md, BEHAVIOR.md, USER.md or MEMORY.md.
        content: The whole new text of the file, with everything that still holds.
    """
    file, text = _named(filename), _text(content)
    await _allowed(ctx, file, change=True)
    persona = ctx.get(Persona)
    if len(text) > persona.largest:
        raise ToolError(
            f"{file} was not written: the text has {len(text):,} characters, and no more than "
            f"{persona.largest:,} are allowed. Condense it: merge what belongs together, leave out "
            "what is over, put details into the journal. Then write it again."
        )
    expected = await _looked(ctx, file)
    if expected is None:
        raise ToolError(
            f"{file} was not written: you have not read it in this conversation. Call "
            f"read_core_file for {file}, then write it with what is in it."
        )
    new = await persona.write(ctx.place.agent, file, text, expected, ctx.turn_id or None)
    await looks.look(persona.pool, ctx.session_id, file, new)
    return f"{file} is written ({len(text):,} characters)."


def _named(filename: str) -> str:
    """The file that is meant, whatever its case, with or without `.md`."""
    wanted = filename.strip().lower().removesuffix(".md")
    if wanted == "agent":
        raise ToolError(AGENT_IS_YOURS)
    for file in CHANGEABLE:
        if file.lower().removesuffix(".md") == wanted:
            return file
    raise ToolError(f"There is no core file {filename!r}. There are: {', '.join(CHANGEABLE)}.")


def _text(content: str) -> str:
    text: str = clean(content).strip()
    return text + "\n" if text else ""


async def _looked(ctx: ToolContext, file: str) -> bytes | None:
    return await looks.looked(ctx.get(Persona).pool, ctx.session_id, file)


async def _allowed(ctx: ToolContext, file: str, *, change: bool) -> None:
    """ToolError unless those who are present may see the file, or the sender change it."""
    company = await ctx.get(Companies).of(ctx.place.room_id, speaker=ctx.sender)
    if file in OWNERS and not company.private:
        raise ToolError(
            f"{file} is for the person that you belong to, and is neither shown nor changed where "
            "others read. Do it when you are alone with them."
        )
    if change and not ctx.get(Persona).manages(ctx.sender, company):
        raise ToolError(
            f"{file} was not changed: only your owner and administrators may change who you are."
        )
