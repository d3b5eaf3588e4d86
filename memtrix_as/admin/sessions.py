"""Conversations that go on: listed, shown, and begun afresh."""

from collections.abc import Mapping
from typing import Any

from memtrix_as.admin.command import Ask, Call, command, quoted
from memtrix_as.admin.tables import Cell, facts, page_of, paged, words
from memtrix_as.admin.when import ago, stamp
from memtrix_as.admin.words import amount, number
from memtrix_as.db import overview
from memtrix_as.db.overview import SessionSeen
from memtrix_as.errors import AdminError
from memtrix_as.messages import AT_TERMINAL

SHOWN = 6  # messages of `session show`


@command("sessions [PAGE]", "lists the conversations that go on", example="sessions 2")
async def sessions(call: Call, page: str) -> str:
    wanted = page_of(page)
    if wanted is None:
        raise AdminError(f"{quoted(page)} is no page. Type `sessions` or `session show ID`.")
    rows = [
        (Cell(f"#{s.id}"), s.agent, _where(s), s.messages, ago(s.last))
        for s in await overview.sessions(call.db)
    ]
    if not rows:
        return "Nobody has talked with an agent yet."
    head = ("session", "agent", "in", "messages", "last one")
    return paged("sessions", head, rows, wanted, "sessions")


@command(
    "session show ID",
    "shows a conversation's size and its last messages",
    example="session show 12",
    private=True,
)
async def show(call: Call, which: str) -> str:
    found = await _find(call, which)
    zone = call.means.config.timezone
    rows = [
        ("agent", found.agent),
        ("in", _where(found)),
        ("began", stamp(found.started_at, zone)),
        ("messages", f"{found.messages:,}, about {found.tokens:,} tokens for the model"),
        ("older ones", "stand in a summary" if found.summarised else "are all there"),
    ]
    shown = facts(rows)
    for said in await overview.last_said(call.db, found.id, SHOWN):
        who = found.agent if said.role == "assistant" else "human"
        shown += f"\n\n{stamp(said.created_at, zone)} **{words(who)}:** {words(said.text, 300)}"
    return shown


async def _cleared(call: Call, details: Mapping[str, Any]) -> str:
    if not await overview.end_session(call.db, int(details["session"])):
        return f"Session #{details['session']} has ended already."
    return f"Session #{details['session']} is over; the next message there begins a fresh one."


@command(
    "session clear ID",
    "ends a conversation, so that the next message begins a fresh one",
    example="session clear 12",
    then=_cleared,
)
async def clear(call: Call, which: str) -> Ask:
    found = await _find(call, which)
    return Ask(
        f"Session #{found.id} of {words(found.agent)} in {_where(found)} ends, with "
        f"{amount(found.messages, 'message')}. The model will not see them any more; they stay in "
        "the database and in memory.",
        {"session": found.id},
    )


async def _find(call: Call, which: str) -> SessionSeen:
    count = number(which)
    found = await overview.sessions(call.db, count) if count else []
    if not found:
        raise AdminError(f"No session {quoted(which)} goes on. `sessions` lists them.")
    return found[0]


def _where(seen: SessionSeen) -> Cell:
    room = f"room #{seen.room}" if seen.room else "a room that was left"
    if seen.room_id.startswith(AT_TERMINAL):
        room = "a terminal"
    humans = ", ".join(words(name, 30) for name in seen.humans[:2])
    return Cell(f"{room} ({humans})" if humans else room)
