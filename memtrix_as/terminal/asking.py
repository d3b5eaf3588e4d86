"""Questions and their answers: asked of a person in the terminal, or found in a file."""

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

from memtrix_as import config
from memtrix_as.errors import ConfigError
from memtrix_as.settings import document

LONGEST = 200  # characters of an answer that are shown
Key = Sequence[str]  # where an answer stands in a file of answers
Check = Callable[[str], str]  # the answer as it is kept; ValueError says what is wrong with it


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end a question: asyncio would only note it, and the question would go on."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # where no signal arrives
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def anything(text: str) -> str:
    return text


def needed(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; something is needed here")
    return text.strip()


class Asker(Protocol):
    """Gives answers that have passed their checks."""

    attended: bool  # somebody is there who can be asked again

    def say(self, text: str, style: str = "") -> None: ...

    def text(
        self,
        key: Key,
        question: str,
        default: str = "",
        check: Check = needed,
        secret: bool = False,
    ) -> str:
        """One line. A secret is not shown; where there is a default, nothing typed keeps it."""

    def choose(self, key: Key, question: str, choices: Mapping[str, str], default: str) -> str:
        """One of the choices, by its name; each has a line that explains it."""

    def yes(self, key: Key, question: str, default: bool) -> bool: ...

    def names(self, key: Key, question: str, some: bool) -> Iterator[str]:
        """The names of things to describe, or "" for each whose name has to be asked; at least
        one unless there are `some` already."""


class Terminal:
    """Asks a person until the answer can be used."""

    attended = True

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str, style: str = "") -> None:
        self._console.print(Text(config.redact(text), style=style))

    def text(
        self,
        key: Key,
        question: str,
        default: str = "",
        check: Check = needed,
        secret: bool = False,
    ) -> str:
        shown = "kept if you type nothing" if secret else default
        hint = f" [{shown}]" if default else ""
        while True:
            prompt = Text.assemble((question, "bold"), (hint, "dim"), ": ")
            answer = self._console.input(prompt, password=secret).strip() or default
            try:
                return check(answer)
            except ValueError as exc:
                self._wrong(str(exc).replace("{found}", "that" if secret else f'"{answer}"'))

    def choose(self, key: Key, question: str, choices: Mapping[str, str], default: str) -> str:
        names = list(choices)
        self.say(question, "bold")
        for number, name in enumerate(names, 1):
            self.say(f"  {number}  {name}" + (f": {choices[name]}" if choices[name] else ""))

        def check(answer: str) -> str:
            if answer.isdigit() and 1 <= int(answer) <= len(names):
                return names[int(answer) - 1]
            if answer in choices:
                return answer
            raise ValueError(f"expected a number from 1 to {len(names)}, or one of the names")

        return self.text(key, "Number or name", default, check)

    def yes(self, key: Key, question: str, default: bool) -> bool:
        def check(answer: str) -> str:
            word = answer.casefold()
            if word not in ("y", "yes", "n", "no"):
                raise ValueError("expected y or n")
            return word[0]

        return self.text(key, f"{question} (y/n)", "y" if default else "n", check) == "y"

    def names(self, key: Key, question: str, some: bool) -> Iterator[str]:
        if not some:
            yield ""
        while self.yes(key, question, default=False):
            yield ""

    def _wrong(self, why: str) -> None:
        self.say(f"  {why[0].upper()}{why[1:]}.", "red")


class Answers:
    """Finds the answers in a file; a missing one is the default, a wrong one ends the run."""

    attended = False

    def __init__(self, path: Path, console: Console) -> None:
        self._path, self._console = path, console
        try:
            self._given = _named(document.read(path))
        except ValueError as exc:
            raise ConfigError(f"{path}: a name {exc}.") from None
        self._used: set[tuple[str, ...]] = set()

    def say(self, text: str, style: str = "") -> None:
        self._console.print(Text(config.redact(text)))

    def text(
        self,
        key: Key,
        question: str,
        default: str = "",
        check: Check = needed,
        secret: bool = False,
    ) -> str:
        found = self._find(key)
        if isinstance(found, dict | list):
            self._used.add(tuple(key))
            found = json.dumps(found, default=str)
        answer = default if found is None else str(found)
        try:
            return check(_whole(answer))
        except (ValueError, RecursionError) as exc:
            shown = f'"{answer}"' if len(answer) <= LONGEST else f'"{answer[:LONGEST]}…"'
            told = str(exc).replace("{found}", "a secret" if secret else shown)
            raise ConfigError(f"{self._path}: {'.'.join(key)}: {told}") from None

    def choose(self, key: Key, question: str, choices: Mapping[str, str], default: str) -> str:
        def check(answer: str) -> str:
            if answer not in choices:
                raise ValueError(f"found {{found}}, expected one of: {', '.join(choices)}")
            return answer

        return self.text(key, question, default, check)

    def yes(self, key: Key, question: str, default: bool) -> bool:
        found = self._find(key)
        if found is not None and not isinstance(found, bool):
            raise ConfigError(f"{self._path}: {'.'.join(key)}: expected true or false")
        return default if found is None else found

    def names(self, key: Key, question: str, some: bool) -> Iterator[str]:
        found = self._find(key)
        if found is None and some:
            return
        if not isinstance(found, dict) or not found:
            raise ConfigError(f"{self._path}: {'.'.join(key)}: expected at least one, by its name")
        yield from found

    def left_over(self) -> list[str]:
        """What stands in the file and answers no question."""
        return [".".join(key) for key in _leaves(self._given) if not self._was_used(key)]

    def _was_used(self, key: tuple[str, ...]) -> bool:
        return any(key[: len(used)] == used for used in self._used)

    def _find(self, key: Key) -> Any:
        at: Any = self._given
        for name in key:
            at = at.get(name) if isinstance(at, dict) else None
        if not isinstance(at, dict) or not at:
            self._used.add(tuple(key))
        return at


def _named(node: Mapping[Any, Any]) -> dict[str, Any]:
    """The same with all names as text; YAML takes `7:` for a number."""
    return {
        _whole(str(name)): _named(value) if isinstance(value, dict) else value
        for name, value in node.items()
    }


def _whole(text: str) -> str:
    """The text; ValueError where it has half a character, which YAML can write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("has half a character (a surrogate), which is no text") from None
    return text


def _leaves(node: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in node.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*above, str(name)))
        else:
            yield (*above, str(name))
