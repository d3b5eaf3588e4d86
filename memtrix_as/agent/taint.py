"""Taint: once a model has read text from outside, what it asks for may be somebody else's wish.

It holds for as long as the text stands there, also in later turns of the session and in a summary
that was made of it. A call is judged by what its model had read when it asked for it.
"""

from collections.abc import Sequence

from memtrix_as.messages import Message

TOLD = (
    "Before that I read text that somebody outside wrote ({sources}), and this may be what that "
    "text wants."
)
SUMMARY = "the older part of this conversation, which is condensed: {source}"
SHOWN = 100  # characters of a source


def sources(history: Sequence[Message]) -> list[str]:
    """Where the text from outside is from that the model had read when it asked for its last calls.

    The newest first, each once.
    """
    read = list(history)
    while read and read[-1].role == "tool":
        read.pop()  # the results of those calls, as far as they are there already
    return list(dict.fromkeys(m.outside for m in reversed(read) if m.outside))


def warning(found: Sequence[str]) -> str:
    """What a human should know who is asked for a yes."""
    newest = found[0] if len(found[0]) <= SHOWN else f"{found[0][:SHOWN]}…"
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return TOLD.format(sources=newest + more)
