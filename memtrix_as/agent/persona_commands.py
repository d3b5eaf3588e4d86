"""`/persona`: the human looks at the core files, at what they were, and takes changes back."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from memtrix_as.agent.means import Means
from memtrix_as.db import outbox
from memtrix_as.db.inbox import Item
from memtrix_as.db.persona import Version
from memtrix_as.db.pool import Connection
from memtrix_as.errors import PersonaError, ToolError
from memtrix_as.memory.company import Companies, Company
from memtrix_as.memory.core_files import CORE_FILES
from memtrix_as.memory.persona import OWNERS, Persona
from memtrix_as.messages import Incoming

HELP = """\
- `/persona` lists the files that make me who I am
- `/persona show FILE` shows one of them
- `/persona history FILE` lists its versions, with who wrote them
- `/persona diff FILE` shows its last change
- `/persona diff FILE 3` shows what has changed since version 3
- `/persona undo FILE` takes its last change back
- `/persona undo FILE 3` goes back to version 3

FILE is AGENT, SOUL, BEHAVIOR, USER or MEMORY. You can edit the files with any editor too: I read \
them anew with each message, and keep every version."""
FORBIDDEN = "Only my owner and administrators may see and change who I am."
NOT_HERE = "{file} is for my owner, and is not shown or changed where others read."
AUTHORS = {"template": "template", "agent": "agent", "human": "editor", "undo": "undo"}
NAMES = "AGENT, SOUL, BEHAVIOR, USER or MEMORY"
SHOWN = 30  # versions of a history


@dataclass(frozen=True, slots=True)
class Request:
    """One command; what is in `later` is done after the commit."""

    means: Means
    connection: Connection
    item: Item
    incoming: Incoming
    argument: str
    later: list[Callable[[], Awaitable[None]]]

    @property
    def persona(self) -> Persona:
        service: Persona = self.means.services[Persona]
        return service


async def run(request: Request) -> str:
    """What the command answers; wrong words get a sentence with what to type."""
    companies: Companies = request.means.services[Companies]
    sender = request.incoming.sender
    company = await companies.of(request.item.room_id, request.connection, speaker=sender)
    if not request.persona.manages(sender, company):
        return FORBIDDEN
    wanted = _wanted(request.argument)
    if isinstance(wanted, str):
        return wanted
    verb, file, number = wanted
    if verb == "list":
        return await _list(request, company)
    if file in OWNERS and not company.private:
        return NOT_HERE.format(file=file)
    try:
        return await VERBS[verb](request, file, number)
    except PersonaError as exc:
        return str(exc)


def _wanted(argument: str) -> tuple[str, str, int | None] | str:
    """Verb, file and number; or the answer to an argument that is none of these."""
    verb, *rest = argument.split() or ["list"]
    verb = verb.lower()
    if verb == "list" and not rest:
        return "list", "", None
    if verb == "help":
        return HELP
    if verb not in VERBS:
        return f"`/persona` does not know `{_quoted(verb)}`. `/persona help` shows what it knows."
    numbered = verb in {"diff", "undo"}
    if not rest or len(rest) > 1 + numbered:
        return f"Type `/persona {verb} FILE{' [NUMBER]' if numbered else ''}`, with FILE {NAMES}."
    name = rest[0].lower().removesuffix(".md")
    file = next((f for f in CORE_FILES if f.lower() == f"{name}.md"), None)
    if file is None:
        return f"There is no file `{_quoted(rest[0])}`. Type {NAMES}."
    if len(rest) == 1:
        return verb, file, None
    if not re.fullmatch(r"[0-9]{1,9}", rest[1]):
        return f"`{_quoted(rest[1])}` is no version's number. Type `/persona history {file}`."
    return verb, file, int(rest[1])


def _quoted(text: str) -> str:
    return text.replace("`", "'")[:40]


async def _list(request: Request, company: Company) -> str:
    rows = ["| file | characters | last change | by | versions |", "|---|---|---|---|---|"]
    for file in CORE_FILES:
        if file in OWNERS and not company.private:
            rows.append(f"| {file} | for my owner alone | | | |")
            continue
        try:
            newest = await request.persona.history(request.item.agent, file, 1, request.connection)
            text = await request.persona.read(request.item.agent, file, request.connection)
        except PersonaError as exc:
            rows.append(f"| {file} | {exc} | | | |")
            continue
        if newest:
            when, who = _when(request, newest[0]), _who(newest[0])
            rows.append(f"| {file} | {len(text):,} | {when} | {who} | {newest[0].number} |")
    return "\n".join(rows) + "\n\n`/persona show AGENT` shows one, `/persona help` tells the rest."


async def _show(request: Request, file: str, _: int | None) -> str:
    text = await request.persona.read(request.item.agent, file, request.connection)
    return _block(text, "markdown") if text.strip() else f"{file} is empty."


async def _history(request: Request, file: str, _: int | None) -> str:
    versions = await request.persona.history(request.item.agent, file, SHOWN, request.connection)
    rows = ["| version | written | by | characters |", "|---|---|---|---|"]
    for v in versions:
        rows.append(f"| {v.number} | {_when(request, v)} | {_who(v)} | {v.size} |")
    older = versions[-1].number - 1 if versions else 0
    more = f"\n\n{older} older versions have the numbers from 1." if older else ""
    return "\n".join(rows) + more


async def _diff(request: Request, file: str, number: int | None) -> str:
    changes = await request.persona.diff(request.item.agent, file, number, request.connection)
    return _block(changes, "diff") if changes else f"{file} is the same as in that version."


async def _undo(request: Request, file: str, number: int | None) -> str:
    agent, persona = request.item.agent, request.persona
    then = await persona.undo(agent, file, number, request.connection)
    # The file follows after the commit: so a crash in between undoes once, and not twice.
    request.later.append(partial(_settle, request, file, then))
    return (
        f"{file} says again what it said in version {then.number}, from {_when(request, then)}. "
        f"`/persona undo {file}` takes this back."
    )


async def _settle(request: Request, file: str, then: Version) -> None:
    try:
        await request.persona.settle(request.item.agent, file, then.text)
    except ToolError as exc:
        await outbox.say(request.means.pool, request.item.lane, request.incoming.place, str(exc))


def _when(request: Request, version: Version) -> str:
    return f"{version.created_at.astimezone(request.means.config.timezone):%Y-%m-%d %H:%M}"


def _who(version: Version) -> str:
    return version.writer or AUTHORS[version.author]


def _block(text: str, language: str) -> str:
    """A code block that the text cannot end, whatever backticks are in it."""
    fence = "`" * max(3, *(len(run) + 1 for run in ["", *re.findall("`+", text)]))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


VERBS: dict[str, Callable[[Request, str, int | None], Awaitable[str]]] = {
    "show": _show,
    "history": _history,
    "diff": _diff,
    "undo": _undo,
}
