"""What of a human's events answers a question: a word, or an emoji on it. Pure decisions."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memtrix_as.db import inbox
from memtrix_as.db.approvals import Question
from memtrix_as.db.inbox import Arrival

REACTION = "m.reaction"
LONGEST = 400  # characters of a message that can be an answer: a name before it, a quote after it

WORDS = {
    "yes": "yes y ja j oui si sí sì approve ✅ ✔ 👍",
    "no": "no n nein non deny ❌ ✖ 👎",
    "always": "always immer toujours siempre sempre ♾",
}
_MEANING = {word: answer for answer, words in WORDS.items() for word in words.split()}
AGAIN = {"🔁", "🔄"}
_EMOJI = {word: answer for word, answer in _MEANING.items() if not word[0].isalpha()}
# What changes how an emoji looks, and not what it says: variants and skin tones.
_LOOKS = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")


@dataclass(frozen=True, slots=True)
class Said:
    """A message that is an answer; as a command when it begins with / or !."""

    word: str  # yes, no or always
    command: bool


def word(text: str) -> Said | None:
    """What a message answers, when that is all that it says."""
    said = _LOOKS.sub("", text).strip().casefold()
    command = said.startswith(("/", "!"))
    meaning = _MEANING.get(said[1:] if command else said.rstrip(".!").rstrip())
    return Said(meaning, command) if meaning else None


def may_answer(event: Mapping[str, Any]) -> bool:
    """Whether an event could be an answer, before anything is known of its room."""
    content = event.get("content")
    if not isinstance(content, dict):
        return False
    if event.get("type") == REACTION:
        return target(content) is not None
    body = content.get("body")
    if not isinstance(body, str) or not body or len(body) > 8 * LONGEST:
        return False
    # A name may stand before the word, and in older clients a quote, on lines of its own.
    last = body.strip().rpartition("\n")[2]
    return len(last) <= LONGEST and word(re.split(r"[\s:,]", last.strip())[-1]) is not None


def target(content: Mapping[str, Any]) -> str | None:
    """The event that a reaction is on."""
    relation = content.get("m.relates_to")
    if not isinstance(relation, dict) or relation.get("rel_type") != "m.annotation":
        return None
    event_id = relation.get("event_id")
    return event_id if isinstance(event_id, str) and event_id else None


def reaction(event: Mapping[str, Any], questions: Sequence[Question]) -> tuple[Arrival, ...]:
    """The arrival of an emoji on a question; other emoji, and on other events, say nothing."""
    content = event.get("content")
    said = clicked(content) if isinstance(content, dict) else None
    found = pointed(questions, str(event["room_id"]), said[0]) if said else None
    if found is None or said is None:
        return ()
    return (arrival(event, found.agent, said[1], found, found.thread, clicked=True),)


def clicked(content: Mapping[str, Any]) -> tuple[str, str] | None:
    """The event that a reaction is on, and what it answers; None when it answers nothing."""
    meant = target(content)
    key = content["m.relates_to"].get("key") if meant else None
    answer = _EMOJI.get(_LOOKS.sub("", key).strip()) if isinstance(key, str) else None
    return (meant, answer) if meant and answer else None


def again(content: Mapping[str, Any]) -> str | None:
    """The event on which a reaction asks that something be tried again."""
    meant = target(content)
    key = content["m.relates_to"].get("key") if meant else None
    return meant if isinstance(key, str) and _LOOKS.sub("", key).strip() in AGAIN else None


def pointed(questions: Sequence[Question], room_id: str, event_id: str) -> Question | None:
    """The question that an event of the room is, or shows how it ended."""
    return next((q for q in questions if q.room_id == room_id and event_id in q.event_ids), None)


def waiting(
    questions: Sequence[Question], room_id: str, agents: Collection[str], thread: str | None
) -> list[Question]:
    """The open questions of these agents that a word without a reply can mean.

    They must stand in the room: nobody answers what is still on its way. Within a thread, only
    those of that thread; clients that know no threads answer from outside. What is merely offered
    counts where nothing else is asked.
    """
    found = [
        q for q in questions
        if q.open and q.event_ids and q.room_id == room_id and q.agent in agents
        and thread in (None, q.thread)
    ]  # fmt: skip
    return [q for q in found if not q.offer] or found


def arrival(
    event: Mapping[str, Any],
    agent: str,
    answer: str,
    question: Question | None,
    thread: str | None,
    *,
    clicked: bool = False,  # by an emoji
    ambiguous: bool = False,
) -> Arrival:
    """The inbox row of an answer: it overtakes the turn that waits for it."""
    room_id = str(event["room_id"])
    payload = {
        "sender": event["sender"],
        "answer": answer,
        "approval": question.id if question else None,
        "thread": question.thread if question else thread,
        "reaction": clicked,
        "ambiguous": ambiguous,
    }
    lane = inbox.controls(room_id, agent)
    return Arrival(lane, "approval", room_id, agent, str(event["event_id"]), payload)
