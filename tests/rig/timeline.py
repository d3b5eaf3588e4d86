"""A room as a client shows it: events, members, who types, and the answers behind the edits."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
DRAFT = "io.memtrix.draft"  # marks a streamed text that is not complete yet


@dataclass(frozen=True)
class Answer:
    """One message as a reader sees it now, with all its edits applied."""

    event_id: str
    sender: str
    text: str
    msgtype: str
    final: bool
    edits: tuple[Json, ...]
    content: Json  # as first sent: relations live there
    latest: Json  # the content that counts now

    @property
    def html(self) -> str:
        return str(self.latest.get("formatted_body", ""))

    @property
    def thread(self) -> str | None:
        relates = self.content.get("m.relates_to", {})
        return str(relates["event_id"]) if relates.get("rel_type") == "m.thread" else None

    @property
    def reply_to(self) -> str | None:
        replied = self.content.get("m.relates_to", {}).get("m.in_reply_to", {})
        return replied.get("event_id") if isinstance(replied, dict) else None


@dataclass
class Timeline:
    """Everything one human has seen of one room, in the homeserver's order."""

    room_id: str
    events: list[Json] = field(default_factory=list)
    state: dict[tuple[str, str], Json] = field(default_factory=dict)
    typing: set[str] = field(default_factory=set)
    typed: set[str] = field(default_factory=set)  # whoever has been typing at some time
    read: set[tuple[str, str]] = field(default_factory=set)  # (user, event)
    known: set[str] = field(default_factory=set)

    def add(self, event: Json) -> None:
        if event["event_id"] in self.known:
            return
        self.known.add(event["event_id"])
        self.events.append(event)
        self.add_state(event)

    def add_state(self, event: Json) -> None:
        if "state_key" in event:
            self.state[event["type"], event["state_key"]] = event

    def add_ephemeral(self, event: Json) -> None:
        if event["type"] == "m.typing":
            self.typing = set(event["content"]["user_ids"])
            self.typed |= self.typing
        elif event["type"] == "m.receipt":
            for event_id, kinds in event["content"].items():
                for users in kinds.values():
                    self.read |= {(user, event_id) for user in users}

    def membership(self, user: str) -> str:
        event = self.state.get(("m.room.member", user))
        return str(event["content"].get("membership")) if event else ""

    def messages(self, wanted: Callable[[str], bool]) -> list[Answer]:
        """What the senders that `wanted` accepts have said, oldest first, without the redacted."""
        gone = {_redacts(e) for e in self.events if e["type"] == "m.room.redaction"}
        edits: dict[str, list[Json]] = {}
        originals: list[Json] = []
        for event in self.events:
            content = event["content"]
            if event["type"] != "m.room.message" or not content or not wanted(event["sender"]):
                continue
            relates = content.get("m.relates_to") or {}
            if relates.get("rel_type") == "m.replace":
                edits.setdefault(relates["event_id"], []).append(event)
            elif event["event_id"] not in gone:
                originals.append(event)
        return [_answer(event, edits.get(event["event_id"], [])) for event in originals]

    def picture(self) -> str:
        lines = [f"  room {self.room_id}:"]
        for event in self.events:
            body = event["content"].get("body", event["content"].get("membership", ""))
            lines.append(f"    {event['sender']} {event['type']} {str(body)[:160]!r}")
        return "\n".join(lines[-40:])


def _redacts(event: Json) -> str | None:
    return event["content"].get("redacts") or event.get("redacts")


def _answer(event: Json, edits: list[Json]) -> Answer:
    edits = [e for e in edits if e["sender"] == event["sender"]]
    latest = edits[-1]["content"].get("m.new_content", {}) if edits else event["content"]
    marks = edits[-1]["content"] if edits else event["content"]
    return Answer(
        event_id=event["event_id"],
        sender=event["sender"],
        text=str(latest.get("body", "")),
        msgtype=str(latest.get("msgtype", "")),
        final=not (latest.get(DRAFT) or marks.get(DRAFT)),
        edits=tuple(edits),
        content=event["content"],
        latest=latest,
    )
