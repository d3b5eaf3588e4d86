"""`help`: all commands, those about one thing, or one with its example."""

from itertools import groupby

from memtrix_as.admin.command import Call, Command, Commands, command, quoted
from memtrix_as.admin.tables import Cell, code
from memtrix_as.admin.words import either, similar
from memtrix_as.errors import AdminError

INTRODUCTION = (
    "Type a command as plain text; `/` or `!` before it does no harm. `help agent` shows all about "
    'one thing with examples. "Quotation marks" keep words together. What cannot be taken back is '
    "asked about first (⚠️)."
)


@command(
    "help [COMMAND…]",
    "lists the commands, or shows how to use one",
    example="help agent create",
)
async def help_(call: Call, what: str) -> str:
    known: Commands = call.get(Commands)
    if not what:
        return "\n\n".join((INTRODUCTION, *_by_file(known)))
    name = " ".join(what.lower().split()[:2])
    if name in known:
        return one(known[name])
    noun = name.split()[0]
    group = known.group(noun)
    if group:
        return "\n".join(f"{_line(each)} (as in {code(each.example, 120)})" for each in group)
    close = similar(name, known) or similar(noun, {name.split()[0] for name in known})
    hint = f"Did you mean {either([f'help {each}' for each in close])}?" if close else ""
    raise AdminError(f"There is no command {quoted(what)}. {hint or '`help` lists all.'}")


def one(command: Command) -> str:
    """How to use a single command."""
    lines = [
        f"{_usage(command)} {_does(command)}.",
        f"Example: {code(command.example, 200)}",
    ]
    if any(p.optional for p in command.parameters):
        lines.append("What stands in [ ] may be left out.")
    return "\n\n".join(lines)


def _by_file(known: Commands) -> list[str]:
    """All commands as lists, below the name of the file in which they are: agents, models, …

    Lists and no table: some clients on phones show no tables, and others squeeze them.
    """
    files = groupby(known.values(), lambda each: each.run.__module__.rpartition(".")[2])
    return [
        f"**{file.capitalize()}**\n\n" + "\n".join(_line(each) for each in commands)
        for file, commands in files
    ]


def _line(command: Command) -> str:
    return f"- {_usage(command)} {_does(command)}"


def _usage(command: Command) -> Cell:
    return code(command.usage, 120)


def _does(command: Command) -> Cell:
    return Cell(f"{'⚠️ ' if command.then else ''}{command.does}")
