"""The words of a question to a human: what a call would do, so that its arguments forge nothing.

Whatever a model wrote stands in code spans or escaped, on one line, with a visible name for each
character that is invisible, moves others about or piles up; and it is cut, the length told.
"""

import json
import unicodedata
from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from memtrix_as.config import redact

MOST_SHOWN = 1200  # characters of all arguments together
LEAST_SHOWN = 100  # of each
MOST_ARGUMENTS = 12
MOST_EFFECT = 500

# Blank, though letters or symbols by their category: Hangul fillers, the empty Braille pattern.
_BLANK = set("\u115f\u1160\u3164\uffa0\u2800\u00ad\u034f\u17b4\u17b5")
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}
BY_CLICK = "React with ✅ or ❌, or answer"
_PILED = 2  # marks upon one letter that scripts need; more of them hide what stands around
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def question(
    agent: str, tool: str, arguments: Mapping[str, Any], told: list[str], *, inside: bool = False
) -> str:
    """What the agent wants to do; `told` is what the tool itself says of it, a sentence each.

    `inside`: the tool runs already, and asks.
    """
    asks = "has a question while it runs" if inside else "asks for permission to run"
    parts = [f"❓ **{plain(agent, 60) or 'I'}** {asks} {code(tool)}."]
    parts += [_told(text) for text in told]
    if arguments:
        limit = max(LEAST_SHOWN, MOST_SHOWN // len(arguments))
        lines = [
            f"- {code(_cut(name, 60)[0])}: {value(given, limit)}"
            for name, given in list(arguments.items())[:MOST_ARGUMENTS]
        ]
        if (more := len(arguments) - MOST_ARGUMENTS) > 0:
            lines.append(f"- and {more} more arguments, which are not shown")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def says(asked: str, told: str) -> bool:
    """Whether a question says this of the call; what its arguments say does not count."""
    return _told(told) in asked.split("\n\n")


def _told(text: str) -> str:
    # Redacted before it is cut or its signs are escaped: after that no secret is recognised.
    return f"➜ {plain(redact(text), MOST_EFFECT)}"


def how(tool: str, until: str, asked: str | None, *, each: bool = False) -> str:
    """How to answer; `asked` is named where others could take the question for theirs.

    `each`: it is asked each time.
    """
    who = f"Only {code(asked)} or an administrator can answer. " if asked else ""
    if each:
        ways = f"{BY_CLICK} **yes** or **no**."
        return f"{who}{ways} No answer until {until} is a no."
    return (
        f"{who}{BY_CLICK} **yes**, **no** or **always** ({code(tool)} in this "
        f"room without asking, from now on). No answer until {until} is a no."
    )


def clock(when: datetime, zone: tzinfo) -> str:
    """A time of day, with its date when that is not today's."""
    there, now = when.astimezone(zone), datetime.now(zone)
    return there.strftime("%H:%M %Z" if there.date() == now.date() else "%Y-%m-%d %H:%M %Z")


def approved(by: str, always: bool) -> str:
    more = " From now on I do not ask here; `/approvals` takes that back." if always else ""
    return f"✅ **Approved** by {code(by)}.{more}"


def denied(by: str, *, inside: bool = False) -> str:
    return f"❌ **Denied** by {code(by)}" + ("." if inside else ": it was not run.")


def expired(when: str, *, inside: bool = False) -> str:
    told = "that is a no." if inside else "it was not run."
    return f"⌛ **Expired** at {when} without an answer: {told}"


def code(text: str) -> str:
    """The text as a code span that nothing in it can end."""
    shown = visible(text) or " "
    fence = "`"
    while fence in shown:
        fence += "`"
    pad = " " if "`" in shown or shown.strip() != shown else ""
    span = f"{fence}{pad}{shown}{pad}{fence}"
    if any(unicodedata.bidirectional(c) in {"R", "AL", "AN"} for c in shown):
        span = f"\u2066{span}\u2069"  # it moves nothing around it, and begins at the left
    return span


def plain(text: str, limit: int) -> str:
    """The text as words that are no markup."""
    shown, left_out = _cut(text, limit)
    words = visible(shown).strip()
    for sign in "\\`*_[]<>&~|!#":
        words = words.replace(sign, f"\\{sign}")
    return words + (f" … ({len(text):,} characters)" if left_out else "")


def visible(text: str) -> str:
    """The text with a name in place of each character that cannot be seen as what it is."""
    shown, marks, before = [], _PILED, ""
    for character in text:
        category = unicodedata.category(character)
        mark = category in {"Mn", "Me"}
        marks = marks + 1 if mark else 0
        hidden = (category in _HIDDEN and character != " ") or character in _BLANK
        if (
            hidden
            or character == before == " "
            or (mark and (marks > _PILED or _selects(character)))
        ):
            shown.append(_SHORT.get(character) or _named(character))
        else:
            shown.append(character)
        before = character
    return "".join(shown)


def _selects(character: str) -> bool:
    """Whether a mark has no shape of its own: it selects a variant of what is before it."""
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def _named(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\u{{{number:x}}}"


def value(value: object, limit: int) -> str:
    """A value as JSON in a code span, its middle left out where it is too long."""
    whole = redact(json.dumps(value, ensure_ascii=False, default=str))
    return excerpt(whole, limit, len(value) if isinstance(value, str) else len(whole))


def excerpt(text: str, limit: int, length: int | None = None) -> str:
    """A text in a code span, on one line; of a long one the ends, and its `length`."""
    shown, left_out = _cut(text, limit)
    if not left_out:
        return code(shown)
    return f"{code(shown)} ({length or len(text):,} characters; the middle is left out)"


def _cut(text: str, limit: int) -> tuple[str, bool]:
    """Beginning and end of a text, so that it takes `limit` characters as it is shown."""
    if len(text) <= limit and len(visible(text)) <= limit:
        return text, False
    head, tail = _fitting(text, limit * 3 // 4), _fitting(text[::-1], limit // 4)[::-1]
    if len(head) + len(tail) >= len(text):
        return text, False
    return f"{head} … {tail}", True


def _fitting(text: str, limit: int) -> str:
    used = 0
    for number, character in enumerate(text[:limit]):
        used += len(visible(f"x{character}")) - 1
        if used > limit:
            return text[:number]
    return text[:limit]
