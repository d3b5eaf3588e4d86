"""Reading raw events: whatever has the wrong type reads as absent."""

from collections.abc import Mapping
from typing import Any

from memtrix_as.messages import Attachment

MOST_NAME = 100  # characters of a display name
FILES = ("m.image", "m.file", "m.audio", "m.video")  # no set: a list is not hashable


def content_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """The content of an event, whatever stands there."""
    return mapping(event.get("content"))


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def string(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def thread(content: Mapping[str, Any]) -> str | None:
    """The root of the thread that a message stands in."""
    relation = mapping(content.get("m.relates_to"))
    return string(relation.get("event_id")) if relation.get("rel_type") == "m.thread" else None


def reply_to(content: Mapping[str, Any]) -> str | None:
    """The event that a message answers; in a thread only when that is more than a fallback."""
    relation = mapping(content.get("m.relates_to"))
    if relation.get("rel_type") == "m.thread" and relation.get("is_falling_back"):
        return None
    return string(mapping(relation.get("m.in_reply_to")).get("event_id"))


def target(event: Mapping[str, Any]) -> str | None:
    """The event that an edit replaces or a redaction removes.

    A redaction names it in its content since room version 11 (spec, client-server API 1.9).
    """
    if event.get("type") == "m.room.redaction":
        return string(content_of(event).get("redacts")) or string(event.get("redacts"))
    relation = mapping(content_of(event).get("m.relates_to"))
    return string(relation.get("event_id")) if relation.get("rel_type") == "m.replace" else None


def attachments(event: Mapping[str, Any], content: Mapping[str, Any]) -> tuple[Attachment, ...]:
    url = string(content.get("url"))
    if url is None or not (content.get("msgtype") in FILES or event.get("type") == "m.sticker"):
        return ()
    info = mapping(content.get("info"))
    size = info.get("size")
    return (
        Attachment(
            string(content.get("filename")) or string(content.get("body")) or "file",
            string(info.get("mimetype")) or "application/octet-stream",
            size if isinstance(size, int) else None,
            url,
        ),
    )


def display_name(content: Mapping[str, Any]) -> str | None:
    """The name that a membership gives, on one line: it stands before what its human says."""
    name = content.get("displayname")
    if not isinstance(name, str):
        return None
    plain = "".join(c if c.isprintable() else " " for c in name[:MOST_NAME])
    return " ".join(plain.split()) or None
