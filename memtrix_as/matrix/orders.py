"""What of the management room is an order to the main agent. Pure decisions.

Who may give one, and what it means, is decided where it is carried out: in `admin`.
"""

from collections.abc import Mapping
from typing import Any

from memtrix_as.db import inbox
from memtrix_as.db.inbox import Arrival
from memtrix_as.db.rooms import Room
from memtrix_as.matrix import answers

MESSAGE, STICKER, REDACTION = "m.room.message", "m.sticker", "m.room.redaction"


def arrivals(event: Mapping[str, Any], room: Room, main: str) -> tuple[Arrival, ...] | None:
    """What an event of the management room leads to; None when it is as anywhere else.

    Each sender's orders have a lane of their own: in order, and nobody waits for another's.
    """
    if not (room.management and room.synced):
        return None
    kind, content = event.get("type"), event.get("content")
    content = content if isinstance(content, dict) else {}
    relation = content.get("m.relates_to")
    relation = relation if isinstance(relation, dict) else {}
    if kind == MESSAGE and relation.get("rel_type") != "m.replace":
        kind_of_message = content.get("msgtype")
        if not isinstance(kind_of_message, str) or kind_of_message == "m.notice":
            return ()
        return _order(event, room, main)
    if kind == STICKER:
        return ()
    if kind == answers.REACTION:
        return _order(event, room, main) if answers.clicked(content) else ()
    if kind == REDACTION:  # of a question, it is a no; besides what it is anywhere
        return (
            _arrival(event, inbox.controls(room.room_id), "redaction", ""),
            *_order(event, room, main),
        )
    return None


def _order(event: Mapping[str, Any], room: Room, main: str) -> tuple[Arrival, ...]:
    if main not in room.agents:
        return ()
    return (_arrival(event, inbox.orders(str(event["sender"]), room.room_id), "admin", main),)


def _arrival(event: Mapping[str, Any], lane: str, kind: str, agent: str) -> Arrival:
    return Arrival(lane, kind, str(event["room_id"]), agent, str(event["event_id"]), dict(event))
