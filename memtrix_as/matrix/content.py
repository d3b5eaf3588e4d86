"""The contents of the events that we send, built from values; nothing here talks to a server."""

import json
from typing import Any, Literal

from memtrix_as.matrix.html import sound, to_html

KEY = "io.memtrix.id"  # our own key of an event, by which it is found again after a crash
HOPS = "io.memtrix.hops"  # how many agents have handed on the message that this answers
THREAD = "io.memtrix.thread"  # the root of the thread that an edited event stands in
DRAFT = "io.memtrix.draft"  # true while more of the text is to come
FORMAT = "org.matrix.custom.html"

# A whole event may have 65,536 bytes (client-server API, "Size limits"). The rest is for what the
# servers add: signatures, hashes, references to earlier events.
LARGEST_EVENT = 60_000
# An edit carries the new text and a short form of it for clients that know no edits.
LARGEST_TEXT = 54_000


def text(
    markdown: str,
    *,
    kind: Literal["text", "notice"],
    thread: str | None = None,
    reply_to: str | None = None,
    key: str,
    hops: int = 0,
) -> dict[str, Any]:
    """An m.room.message. Longer texts must have been through `split`: what is too large for one
    event is cut off, visibly.

    `thread` is the event id of the thread's root; `reply_to` the event that is answered, in a
    thread the last one known there.
    """
    content: dict[str, Any] = {
        "msgtype": f"m.{kind}",
        "body": sound(markdown),
        # Present and empty: nobody is pinged because their name occurs in the text (since v1.7).
        "m.mentions": {},
    }
    if key:
        content[KEY] = key
    if hops:
        content[HOPS] = hops
    if relation := _relation(thread, reply_to):
        content["m.relates_to"] = relation
    if (formatted := to_html(content["body"])) is not None:
        rich = content | {"format": FORMAT, "formatted_body": formatted}
        if size(rich) <= LARGEST_TEXT:
            return rich
    return content | {"body": _fitting(content, LARGEST_TEXT)}


def file(
    name: str,
    url: str,
    info: dict[str, Any],
    caption: str,
    *,
    kind: Literal["image", "audio", "video", "file"],
    thread: str | None,
) -> dict[str, Any]:
    """An m.room.message with a file; the caption is its body, the name its `filename` (v1.10)."""
    content: dict[str, Any] = {
        "msgtype": f"m.{kind}",
        "body": sound(caption) or name,
        "filename": name,
        "url": url,
        "info": info,
        "m.mentions": {},
    }
    if relation := _relation(thread, None):
        content["m.relates_to"] = relation
    if caption and (formatted := to_html(content["body"])) is not None:
        rich = content | {"format": FORMAT, "formatted_body": formatted}
        if size(rich) <= LARGEST_TEXT:
            return rich
    return content


def _relation(thread: str | None, reply_to: str | None) -> dict[str, Any] | None:
    if thread:
        return {
            "rel_type": "m.thread",
            "event_id": thread,
            "is_falling_back": True,
            "m.in_reply_to": {"event_id": reply_to or thread},
        }
    return {"m.in_reply_to": {"event_id": reply_to}} if reply_to else None


def edit(content: dict[str, Any], event_id: str) -> dict[str, Any]:
    """The event that replaces `event_id` by `content`.

    The replaced event keeps its own relation, so the new content names none (client-server
    API, "Event replacements").
    """
    new = {name: value for name, value in content.items() if name != "m.relates_to"}
    outer: dict[str, Any] = {
        "msgtype": content["msgtype"],
        "body": f"* {content['body']}",
        "m.mentions": {},
        "m.new_content": new,
        "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
    }
    outer |= {key: content[key] for key in (KEY, HOPS) if key in content}
    relation = content.get("m.relates_to", {})
    if relation.get("rel_type") == "m.thread":
        outer[THREAD] = relation["event_id"]
    return outer | {"body": _fitting(outer, LARGEST_EVENT)}


def reaction(event_id: str, emoji: str, *, key: str | None = None) -> dict[str, Any]:
    """The content of an m.reaction."""
    relation = {"rel_type": "m.annotation", "event_id": event_id, "key": sound(emoji)}
    content: dict[str, Any] = {"m.relates_to": relation}
    return content | {KEY: key} if key else content


def size(content: dict[str, Any]) -> int:
    """The bytes of a content as canonical JSON."""
    return len(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())


def weight(text: str) -> int:
    """The bytes of a text inside canonical JSON."""
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2


def _fitting(content: dict[str, Any], limit: int) -> str:
    """The body, shortened until the content has at most `limit` bytes."""
    body: str = content["body"]
    if size(content) <= limit:
        return body
    room = limit - size(content | {"body": " […]"})
    low, high = 0, len(body)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if weight(body[:middle]) <= room else (low, middle - 1)
    return body[:low] + " […]"
