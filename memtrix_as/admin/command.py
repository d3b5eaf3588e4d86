"""What a command is: a function with its usage, one line of help and an example.

The usage says all that is needed to read what was typed: `agent rename NAME NEW-NAME` takes two
words, `[WORD]` may be left out, `WORDS…` is all the rest as it stands, `on|off` is a choice.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from memtrix_as.admin.words import Line, either, similar
from memtrix_as.agent import questions
from memtrix_as.agent.means import Means
from memtrix_as.db.inbox import Item
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.errors import AdminError
from memtrix_as.messages import Incoming

MISSING = "`{name}` needs {what}. Type `{usage}`, for example `{example}`."
TOO_MANY = (
    "`{name}` does not know what to do with {more}. Type `{usage}`; quotation marks keep words "
    'together: "two words".'
)
NO_CHOICE = "{given} is not one of {choices}. Type `{usage}`, for example `{example}`."


@dataclass(frozen=True, slots=True)
class Call:
    """A command that somebody has typed, about to be carried out.

    `db` is the transaction that says the answer; for a command that commits itself, the pool.
    What is in `later` is done after the commit.
    """

    means: Means
    db: Connection | Pool
    item: Item
    incoming: Incoming
    later: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    @property
    def sender(self) -> str:
        return self.incoming.sender

    @property
    def room_id(self) -> str:
        return self.incoming.place.room_id

    def get(self, kind: type) -> Any:
        """A service of this kind."""
        return self.means.services[kind]


@dataclass(frozen=True, slots=True)
class Ask:
    """A command wants a yes first: what will happen, and what it will work on, frozen."""

    question: str
    details: Mapping[str, Any]


Run = Callable[..., Awaitable[str | Ask]]
Then = Callable[[Call, Mapping[str, Any]], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A part of the usage behind the command's name."""

    name: str
    optional: bool = False
    rest: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the management room."""

    name: str  # "agent create"
    usage: str
    does: str
    example: str
    run: Run
    parameters: tuple[Parameter, ...]
    then: Then | None  # dangerous: what a yes sets going
    private: bool  # not shown while others than administrators are in the room
    commits: bool  # in transactions of its own, before its answer is said
    slow: bool  # in a lane of its own; commits itself too

    def bind(self, line: Line) -> list[str]:
        """The arguments; AdminError says what is wrong with them, and what to type instead."""
        at = len(self.name.split())
        values = []
        for parameter in self.parameters:
            if at >= len(line.words):
                if not parameter.optional:
                    raise AdminError(self._said(MISSING, what=f"`{parameter.name}`"))
                values.append("")
            elif parameter.rest:
                values.append(line.after(at))
                at = len(line.words)
            else:
                values.append(self._choice(parameter, line.words[at].text))
                at += 1
        if at < len(line.words):
            raise AdminError(self._said(TOO_MANY, more=quoted(line.after(at))))
        return values

    def _choice(self, parameter: Parameter, given: str) -> str:
        if not parameter.choices:
            return given
        chosen = given.lower()
        if chosen not in parameter.choices:
            choices = either(parameter.choices)
            raise AdminError(self._said(NO_CHOICE, given=quoted(given), choices=choices))
        return chosen

    def _said(self, text: str, **more: str) -> str:
        return text.format(name=self.name, usage=self.usage, example=self.example, **more)


def command(
    usage: str,
    does: str,
    *,
    example: str = "",
    then: Then | None = None,
    private: bool = False,
    commits: bool = False,
    slow: bool = False,
) -> Callable[[Run], Command]:
    """Make a Command of an async function that takes the Call and a text for each parameter.

    What it returns is the answer, as Markdown; or an Ask, and `then` does it after a yes. It runs
    in the transaction that says the answer, so it happens once. One that needs others than the
    database says `commits`, or `slow` when it may take long: after a crash it is begun again.
    """
    name = re.match(r"[a-z]+(?: [a-z]+(?![a-z|]))*", usage)
    assert name, usage
    parameters = tuple(_parameter(word) for word in usage[name.end() :].split())

    def declare(run: Run) -> Command:
        return Command(
            name[0], usage, does, example or name[0], run, parameters, then, private,
            commits or slow, slow,
        )  # fmt: skip

    return declare


def _parameter(word: str) -> Parameter:
    bare = word.strip("[]").removesuffix("…")
    choices = tuple(bare.split("|")) if "|" in bare else ()
    return Parameter(bare, word.startswith("["), word.rstrip("]").endswith("…"), choices)


def quoted(text: str, limit: int = 60) -> str:
    """Something that somebody typed, as a code span within a sentence."""
    return questions.code(text if len(text) <= limit else f"{text[:limit]}…")


def unknown(what: str, given: str, known: list[str], where: str) -> AdminError:
    """There is no such thing: what may have been meant, or else where they are listed."""
    close = similar(given, known)
    hint = f"Did you mean {either(close)}?" if close else f"`{where}` lists them."
    return AdminError(f"There is no {what} {quoted(given)}. {hint}")


class Commands(dict[str, Command]):
    """All commands by name."""

    def find(self, line: Line) -> Command:
        """The one that a line begins with; AdminError with what may have been meant."""
        first, *more = [word.text.lower() for word in line.words[:2]]
        if singular := self._singular(first, more):
            raise AdminError(f"There is no {quoted(f'{first} {more[0]}')}; type `{singular}`.")
        for name in ([f"{first} {more[0]}"] if more else []) + [first]:
            if name in self:
                return self[name]
        verbs = [name.split()[1] for name in self if name.startswith(f"{first} ")]
        if verbs and not (more and similar(more[0], verbs)):
            raise AdminError(
                f"`{first}` is followed by {either(verbs)}. `help {first}` tells more."
            )
        asked = " ".join([first, *more])
        close = similar(asked, self) or similar(first, self)
        hint = f"Did you mean {either(close)}? " if close else ""
        given = quoted(asked if verbs else first)
        raise AdminError(f"There is no command {given}. {hint}`help` lists all.")

    def _singular(self, first: str, more: list[str]) -> str:
        """ "agents create" is meant for "agent create"."""
        name = " ".join([first.removesuffix("s"), *more])
        return name if first.endswith("s") and more and name in self else ""

    def group(self, noun: str) -> list[Command]:
        """The commands about one thing: `agents` and those that begin with `agent`."""
        names = {noun, noun.removesuffix("s"), f"{noun}s"}
        return [command for name, command in self.items() if name.split()[0] in names]
