"""Rooms that agents are in: listed, and left."""

from collections.abc import Mapping, Sequence
from typing import Any

from memtrix_as.admin.command import Ask, Call, command, quoted
from memtrix_as.admin.tables import Cell, code, page_of, paged, words
from memtrix_as.admin.when import ago
from memtrix_as.admin.words import amount, number
from memtrix_as.db import corrections, inbox, outbox, overview, queue
from memtrix_as.errors import AdminError
from memtrix_as.messages import Place

GONE = "No agent is in that room any more."


@command(
    "rooms [TEXT] [PAGE]",
    "lists the rooms that agents are in; with a text, those whose people or agents have it",
    example="rooms dennis",
)
async def rooms(call: Call, text: str, page: str) -> str:
    if not page and number(text):
        text, page = "", text
    wanted = page_of(page)
    if wanted is None:
        raise AdminError(f"{quoted(page)} is no page. Type `rooms`, `rooms 2` or `rooms TEXT 2`.")
    found = await overview.rooms(call.db)
    if not found:
        return "No agent is in any room yet. Invite one: `agents` lists them."
    rows = [
        (Cell(f"#{room.number}"), ", ".join(room.agents), _people(room.humans), ago(room.last))
        for room in found
        if text.casefold() in " ".join((*room.agents, *room.humans, room.room_id)).casefold()
    ]
    if not rows:
        return f"None of {amount(len(found), 'room')} has {quoted(text)}."
    name = f"rooms {text}".strip()
    return paged(name, ("room", "agents", "people", "last asked"), rows, wanted, "rooms")


async def _left(call: Call, details: Mapping[str, Any]) -> str:
    room_id = str(details["room"])
    names = await overview.agents_in(call.db, room_id)
    if not names:
        return GONE
    for agent in names:
        lane = inbox.turns(agent, room_id)
        turn = await corrections.running(call.db, lane)
        if turn is not None:
            await corrections.stop(call.db, lane, turn)
        await outbox.leave(call.db, lane, Place(room_id, agent))
        await queue.wake(call.db, lane)
    return (
        f"{amount(len(names), 'agent')} leave{'s' * (len(names) == 1)} room #{details['number']}."
    )


@command(
    "room leave ID",
    "has all agents leave a room; what was said there stays in their memory",
    example="room leave 3",
    then=_left,
)
async def leave(call: Call, which: str) -> str | Ask:
    room = await _find(call, which)
    return Ask(
        f"{words(', '.join(room.agents))} leave{'s' * (len(room.agents) == 1)} room #{room.number} "
        f"({code(room.room_id)}) with {_people(room.humans)}. What runs there is stopped, what was "
        "said stays in memory. They come back when somebody invites them.",
        {"room": room.room_id, "number": room.number},
    )


async def _find(call: Call, which: str) -> overview.RoomSeen:
    count = number(which)
    room_id = await overview.room_of(call.db, count) if count else which
    if room_id == call.room_id:
        raise AdminError("This is the management room; it is not left.")
    found = await overview.rooms(call.db, room=room_id) if room_id else []
    if not found:
        raise AdminError(f"No agent is in a room {quoted(which)}. `rooms` lists them.")
    return found[0]


def _people(humans: Sequence[str]) -> Cell:
    names = [str(words(name, 40)) for name in humans]
    if len(names) > 3:
        names = [*names[:3], f"{len(names) - 3}{'+' if len(names) == 20 else ''} more"]
    return Cell(", ".join(names) or "nobody")
