"""What those are told who want to see how an agent works: its calls, and what it thinks.

Such notices stand in a thread at the message that they belong to, so that the room stays readable.
"""

import re

from memtrix_as.agent import marking, questions
from memtrix_as.config import redact
from memtrix_as.messages import ToolCall

MOST_ARGUMENTS = 12
MOST_SHOWN = 200  # characters of an argument
MOST_RESULT = 300  # characters of a result
MOST_THOUGHT = 6_000  # characters of a thought; some models think for pages
HIDDEN = "hidden"
# Names of arguments whose values nobody should read over a shoulder.
_SECRET = re.compile(
    r"key|token|secret|passw|passphrase|credential|authori[sz]|cookie|\bpin\b", re.I
)


def called(call: ToolCall, result: str, *, failed: bool, seconds: float | None) -> str:
    """A call that has ended: what was asked for, how it ended and after how long."""
    lasted = f", {duration(seconds)}" if seconds is not None else ""
    parts = [f"{'✗' if failed else '✓'} {questions.code(call.name)}{lasted}"]
    arguments = list(call.arguments.items())
    lines = [f"- {questions.code(name[:60])}: {_value(name, value)}"
             for name, value in arguments[:MOST_ARGUMENTS]]  # fmt: skip
    if more := len(arguments) - MOST_ARGUMENTS:
        lines += [f"- and {more} more"] if more > 0 else []
    if lines:
        parts.append("\n".join(lines))
    if said := marking.bare(result).strip():
        parts.append(f"➜ {questions.excerpt(redact(said), MOST_RESULT)}")
    return redact("\n\n".join(parts))


def thought(reasoning: str) -> str:
    """What the model thought before it said or did something."""
    thought = redact(reasoning.strip())
    if len(thought) > MOST_THOUGHT:
        thought = f"{thought[:MOST_THOUGHT]} … ({len(thought):,} characters)"
    return f"💭 {thought}"


def duration(seconds: float) -> str:
    """A time as people say it: 0.3 s, 12 s, 1 min 5 s."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _value(name: str, value: object) -> str:
    if _SECRET.search(name):
        return HIDDEN
    return questions.value(value, MOST_SHOWN)
