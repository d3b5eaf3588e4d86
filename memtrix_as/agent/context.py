"""What a model is shown: the system prompt, and the part of the session that fits."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from memtrix_as.agent import questions, taint
from memtrix_as.db.sessions import Session, Stored
from memtrix_as.memory import prompt
from memtrix_as.messages import Image, Incoming, Kept, Message, ToolCall

ANSWER_SHARE = 0.25  # of the model's context is left free for its answer
CONDENSE_AT = 0.8  # of the session's budget: from there the older part is condensed
PERSONA_SHARE = 0.5  # of what answer and tools leave may be the persona's
LARGEST_SHARE = 0.6  # of the session's budget that one message may take
IMAGE_TOKENS = 800  # what an image costs, about
KEEP_SHARE = 0.35  # of the session's budget stays verbatim when the rest is condensed

INTERRUPTED = "This was interrupted; whether it took effect is unknown."

SUMMARY = "What was said earlier in this conversation, condensed:\n{summary}"
CONDENSE = """\
Condense the conversation above for your own later use: who the people are, what was asked,
decided and promised, names, numbers and dates, what is still open. Plain sentences, at most 300
words. Write only the summary."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Messages for a model, and whether the session has grown enough to be condensed."""

    messages: list[Message]
    crowded: bool


def tokens(message: Message) -> int:
    """An estimate of a message's tokens."""
    calls = "".join(call.name + str(dict(call.arguments)) for call in message.calls)
    seen = IMAGE_TOKENS * len(message.images)
    return 6 + prompt.tokens(message.text) + prompt.tokens(calls) + seen


def budget(context: int, overhead: int) -> int:
    """Tokens for a session in a model with `context` tokens, besides `overhead` of our own."""
    return max(int(context * (1 - ANSWER_SHARE)) - overhead, 256)


def persona_budget(context: int, tools: int) -> int:
    """Tokens for the system prompt in a model with `context` tokens, besides those of `tools`."""
    return int((context * (1 - ANSWER_SHARE) - tools) * PERSONA_SHARE)


def said(
    incoming: Incoming, *, speaker: str | None, quoted: str | None, files: Sequence[Kept] = ()
) -> Message:
    """A human's message as the model reads it; `speaker` where several humans are about."""
    lines = []
    if quoted:
        cut = quoted if len(quoted) <= 1000 else quoted[:1000] + " …"
        lines.append("\n".join(f"> {line}" for line in cut.splitlines()))
    lines += [_came(file) for file in files]
    text = incoming.text or ("(without words)" if files and speaker else "")
    lines.append(f"{speaker}: {text}" if speaker else text)
    images = tuple(Image(f.path) for f in files if f.path and f.mimetype.startswith("image/"))
    return Message("user", "\n".join(line for line in lines if line), images=images)


def named(file: Kept) -> str:
    """The name of a file in quotes, which nothing in it can leave."""
    return json.dumps(questions.visible(file.name[:200]), ensure_ascii=False)


def _came(file: Kept) -> str:
    """That a file came with a message, on one line that its name cannot leave."""
    name = named(file)
    kind = questions.visible(file.mimetype[:100]).replace("]", "")
    if not file.path:
        return f"[A file came with this, {name}, {kind}, but {file.why}]"
    return f"[A file came with this: {name}, {kind}, {file.size} bytes, saved as {file.path}]"


def fit(session: Session, first: Message, limit: int) -> Prompt:
    """The prompt for a session that was loaded within `limit` tokens.

    It begins with a human's words: a call is never parted from its results. What tools brought
    while somebody who is present now was not there, such as a private file, is left out; what was
    said then stays, since the room shows it.
    """
    stored = [kept for s in session.messages if (kept := _shared(s))]
    while stored and stored[0].message.role != "user":
        stored.pop(0)
    if session.summary:
        summary = SUMMARY.format(summary=session.summary)
        outside = taint.SUMMARY.format(source=session.outside) if session.outside else ""
        first = replace(first, text=f"{first.text}\n\n{summary}", outside=outside)
    messages = [first]
    largest = int(limit * LARGEST_SHARE)
    messages += joined(
        whole([s.message if s.tokens <= largest else shortened(s.message, largest) for s in stored])
    )
    used = sum(s.tokens for s in stored)
    return Prompt(messages, not session.complete or used > CONDENSE_AT * limit)


def _shared(stored: Stored) -> Stored | None:
    message = stored.message
    if stored.shared or not (message.calls or message.role == "tool"):
        return stored
    words = message.text.strip() and message.role == "assistant"
    return replace(stored, message=replace(message, calls=())) if words else None


def remind(messages: list[Message], memory: str) -> None:
    """Put what is remembered before the human's last message.

    Not into the system prompt: what stands before the question can stay in the server's cache.
    """
    for at in range(len(messages) - 1, -1, -1):
        if memory and messages[at].role == "user":
            messages[at] = replace(messages[at], text=memory + messages[at].text)
            return


def shortened(message: Message, limit: int) -> Message:
    """The message with the middle of a text that is over `limit` tokens left out, and that said."""
    # In the worst case each character is a token of its own.
    size = min(len(message.text), limit * len(message.text) // tokens(message))
    head, tail = message.text[: size * 2 // 3], message.text[len(message.text) - size // 3 :]
    left_out = len(message.text) - len(head) - len(tail)
    return replace(message, text=f"{head}\n[… {left_out} characters left out …]\n{tail}")


def joined(messages: Sequence[Message]) -> list[Message]:
    """The same, with what a human said in several events in a row as one message.

    Some models refuse two of them in a row.
    """
    made: list[Message] = []
    for message in messages:
        if made and made[-1].role == message.role == "user":
            text = f"{made[-1].text}\n{message.text}"
            made[-1] = replace(
                made[-1], text=text, images=made[-1].images + message.images,
                human=made[-1].human and message.human,
                outside=made[-1].outside or message.outside,
            )  # fmt: skip
        else:
            made.append(message)
    return made


def to_condense(stored: Sequence[Stored], limit: int) -> list[Stored]:
    """The older turns of a session, whole ones, so that the rest keeps to its share.

    The summary stands for all up to an id, and turns may overlap: so for none of the rest.
    """
    kept, cut = 0, len(stored)
    newest = list(accumulate((s.id for s in stored), max))
    oldest = list(accumulate((s.id for s in reversed(stored)), min))[::-1]
    for index in range(len(stored) - 1, -1, -1):
        kept += stored[index].tokens
        if kept > KEEP_SHARE * limit:
            break
        before = stored[index - 1].message.role if index else ""
        apart = not index or newest[index - 1] < oldest[index]
        if stored[index].message.role == "user" != before and apart:
            cut = index
    return list(stored[:cut]) if all(s.ended for s in stored[:cut]) else []


def whole(messages: Sequence[Message]) -> list[Message]:
    """The same messages, with calls that were left behind unanswered said to be just that.

    Providers refuse a history that has them, or results that nobody asked for. Calls at the very
    end are still to be run.
    """
    made: list[Message] = []
    unanswered: dict[str, ToolCall] = {}
    for message in messages:
        if message.role == "tool":
            if unanswered.pop(message.call_id or "", None) is None:
                continue  # nobody asked, or it was answered already: providers refuse that too
        else:
            made += [Message("tool", INTERRUPTED, call_id=c, failed=True) for c in unanswered]
            unanswered = {call.id: call for call in message.calls}
        made.append(message)
    return made
