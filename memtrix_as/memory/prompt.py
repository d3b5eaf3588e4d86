"""The system prompt as a text: AGENT.md with the other files in it, within its share of tokens."""

import re
from collections.abc import Mapping
from datetime import datetime

NOTHING = "(nothing yet)"
UNREADABLE = "(cannot be read at the moment)"
OWNERS_ONLY = (
    "(Kept for the person that you belong to: not shown, and not to be changed, where others read.)"
)
NO_OTHERS = "There are no other agents."
FLOOR = 60  # tokens that a file keeps, however little room there is

_PLACEHOLDER = re.compile(r"\{\{([A-Z]+)\}\}")


def tokens(text: str) -> int:
    """An estimate of a text's tokens: four ASCII characters, or one other, to a token."""
    ascii_characters = len(text.encode("ascii", "ignore"))
    return ascii_characters // 4 + (len(text) - ascii_characters)


def hour(now: datetime) -> str:
    """Day, weekday, hour and zone.

    Only the hour: a prompt that changes with each message cannot be cached by the server.
    """
    return now.strftime("%A, %-d %B %Y, about %-H o'clock (%Z)")


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with its placeholders replaced, once: one inside a value stays text."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), template)


def fit(texts: Mapping[str, str], room: int) -> tuple[dict[str, str], list[str]]:
    """The texts within `room` tokens together, and the names of those that were cut for it.

    The largest are cut, all to the same size, so that a small file never pays for a large one.
    """
    sizes = {name: tokens(text) for name, text in texts.items()}
    size = _level(sorted(sizes.values()), room)
    cut = [name for name in texts if sizes[name] > max(size, FLOOR)]
    fitting = {
        name: shortened(text, max(size, FLOOR), name) if name in cut else text
        for name, text in texts.items()
    }
    return fitting, cut


def _level(sizes: list[int], room: int) -> int:
    """The largest size such that the sizes, none counted for more than it, fit into the room."""
    for index, size in enumerate(sizes):
        share = room // (len(sizes) - index)
        if size > share:
            return share
        room -= size
    return sizes[-1] if sizes else 0


def shortened(text: str, limit: int, name: str) -> str:
    """The text with whole lines, or else a piece, of its middle left out, and that said."""
    # In the worst case each character is a token of its own.
    room = max(limit - 25, 10)  # the note
    size = min(len(text), room * len(text) // tokens(text))
    head, tail = text[: size * 2 // 3], text[len(text) - size // 3 :]
    if "\n" in head[len(head) // 2 :]:
        head = head[: head.rindex("\n")]
    if "\n" in tail[: len(tail) // 2]:
        tail = tail[tail.index("\n") + 1 :]
    left_out = len(text) - len(head) - len(tail)
    note = f"[… {left_out} characters of {name} do not fit here; read_core_file shows them …]"
    return f"{head}\n{note}\n{tail}"
