"""What somebody typed, as words. Nothing that a human can type raises anything here."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# What phones and word processors make of quotation marks.
CLOSING = {'"': '"', "'": "'", "“": "”", "„": "“”", "«": "»", "\u2018": "\u2019", "”": "”"}
LONGEST = 8_000  # characters of a command

_WORD = re.compile(r"\S+")
_CLOSED = {opening: re.compile(rf"[{closing}](?=\s|$)") for opening, closing in CLOSING.items()}


@dataclass(frozen=True, slots=True)
class Word:
    """A word, without the quotation marks that kept it together."""

    text: str
    start: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """What was typed, and the words of it."""

    text: str
    words: tuple[Word, ...]

    def after(self, count: int) -> str:
        """Everything after so many words, as it was typed; of one quoted word what is in it."""
        left = self.words[count:]
        if not left:
            return ""
        if len(left) == 1 and left[0].quoted:
            return left[0].text
        return self.text[left[0].start :].strip()


def split(text: str) -> Line:
    """Words are parted by white space; quotation marks around several make one of them.

    A mark counts at the beginning of a word, and only if it is closed at the end of one: in
    `don't` and in `5" nails` it is a letter like any other.
    """
    words = []
    at = 0
    while (found := _WORD.search(text, at)) is not None:
        start = found.start()
        end = _closed(text, start)
        if end is not None:
            words.append(Word(text[start + 1 : end], start, quoted=True))
            at = end + 1
        else:
            words.append(Word(found[0], start))
            at = found.end()
    return Line(text, tuple(words))


def _closed(text: str, start: int) -> int | None:
    """Where the quotation that begins at `start` is closed, if one begins there."""
    closing = _CLOSED.get(text[start])
    found = closing.search(text, start + 1) if closing else None
    return found.start() if found else None


def similar(word: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Those of the known words that may have been meant."""
    names = {name.casefold(): name for name in known}
    asked = word.casefold()[:80]
    close = difflib.get_close_matches(asked, names, n=most, cutoff=0.6)
    close += [name for name in names if asked and name.startswith(asked) and name not in close]
    return [names[name] for name in close[:most]]


def either(choices: Sequence[str]) -> str:
    """ "`a`", "`a` or `b`", "`a`, `b` or `c`"."""
    quoted = [f"`{choice}`" for choice in choices]
    if len(quoted) < 2:
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def number(text: str) -> int | None:
    """A positive number as people write one: 3, #3; None for anything else."""
    match = re.fullmatch(r"#?([0-9]{1,9})", text.strip())
    return int(match[1]) if match and int(match[1]) else None


def amount(count: int, what: str) -> str:
    """1 room, 2 rooms, 1,234 messages, 3 entries."""
    if count != 1:
        what = f"{what[:-1]}ies" if what.endswith("y") and what[-2] not in "aeiou" else f"{what}s"
    return f"{count:,} {what}"


def shares(used: int, most: int) -> str:
    """Bytes that are used, of those that may be; 0 is no limit."""
    if not most:
        return f"{used / 1e6:,.1f} MB, without a limit"
    return f"{used / 1e6:,.1f} of {most / 1e6:,.0f} MB ({used / most:.0%})"
