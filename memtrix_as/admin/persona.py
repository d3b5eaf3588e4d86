"""The files that make an agent who it is, as the room commands show them: of any agent."""

from collections.abc import Mapping
from typing import Any

from memtrix_as.admin.command import Ask, Call, command, quoted
from memtrix_as.admin.tables import block, table, words
from memtrix_as.admin.when import stamp
from memtrix_as.admin.words import number
from memtrix_as.agent.people import People
from memtrix_as.agent.persona_commands import AUTHORS
from memtrix_as.db.agents import Agent
from memtrix_as.errors import AdminError
from memtrix_as.memory.core_files import CORE_FILES
from memtrix_as.memory.persona import Persona

NAMES = "AGENT, SOUL, BEHAVIOR, USER or MEMORY"
VERSIONS = 15


async def _meant(call: Call, name: str, file: str) -> tuple[Agent, str]:
    people: People = call.get(People)
    agent = await people.find(name)
    bare = file.casefold().removesuffix(".md")
    found = next((f for f in CORE_FILES if f.casefold() == f"{bare}.md"), None)
    if found is None:
        raise AdminError(f"There is no file {quoted(file)}. Type {NAMES}.")
    return agent, found


@command(
    "persona show AGENT FILE",
    f"shows one of the files {NAMES}",
    example="persona show Memtrix SOUL",
    private=True,
    commits=True,
)
async def show(call: Call, name: str, file: str) -> str:
    agent, found = await _meant(call, name, file)
    persona: Persona = call.get(Persona)
    text = await persona.read(agent.name, found)
    return block(text, "markdown") if text.strip() else f"{found} is empty."


@command(
    "persona history AGENT FILE",
    "lists the versions of a file, with who wrote them",
    example="persona history Memtrix MEMORY",
    private=True,
    commits=True,
)
async def history(call: Call, name: str, file: str) -> str:
    agent, found = await _meant(call, name, file)
    persona: Persona = call.get(Persona)
    versions = await persona.history(agent.name, found, VERSIONS)
    if not versions:
        return f"{found} has no versions yet."
    zone = call.means.config.timezone
    rows = [
        (v.number, stamp(v.created_at, zone), v.writer or AUTHORS[v.author], v.size)
        for v in versions
    ]
    older = versions[-1].number - 1
    more = f"\n\n{older} older ones have the numbers from 1." if older else ""
    return table(("version", "written", "by", "characters"), rows) + more


async def _undone(call: Call, details: Mapping[str, Any]) -> str:
    persona: Persona = call.get(Persona)
    agent, file = str(details["agent"]), str(details["file"])
    now, _ = await persona.version(agent, file, None)
    if now.number != details["newest"]:
        raise AdminError(
            f"{file} was changed meanwhile: it is at version {now.number} now. Nothing was done."
        )
    then = await persona.undo(agent, file, int(details["version"]))
    return f"{file} says again what it said in version {then.number}."


@command(
    "persona undo AGENT FILE [VERSION]",
    "takes the last change of a file back, or goes back to the version with a number",
    example="persona undo Memtrix SOUL 3",
    then=_undone,
    private=True,
    commits=True,
)
async def undo(call: Call, name: str, file: str, version: str) -> Ask:
    agent, found = await _meant(call, name, file)
    wanted = number(version) if version else None
    if version and wanted is None:
        raise AdminError(f"{quoted(version)} is no version's number. `persona history` lists them.")
    persona: Persona = call.get(Persona)
    now, then = await persona.version(agent.name, found, wanted)
    if now.text == then.text:
        raise AdminError(f"{found} says already what it said in version {then.number}.")
    changes = await persona.diff(agent.name, found, then.number)
    zone = call.means.config.timezone
    return Ask(
        f"{found} of {words(agent.display_name)} goes back from version {now.number} to version "
        f"{then.number}, of {stamp(then.created_at, zone)}: {now.size:,} characters become "
        f"{then.size:,}. The version of now is kept. What has changed since then:\n\n"
        + block(_cut(changes), "diff"),
        {"agent": agent.name, "file": found, "version": then.number, "newest": now.number},
    )


def _cut(changes: str, most: int = 40) -> str:
    lines = changes.splitlines()
    return "\n".join(lines[:most] + [f"… {len(lines) - most} more lines"] * (len(lines) > most))
