"""Dangerous commands: asked about first, and answered by any administrator, once."""

import asyncio
import logging
import re
from dataclasses import dataclass

from memtrix_as.admin.command import Ask, Call, Command, Commands
from memtrix_as.admin.words import either, number
from memtrix_as.agent import questions
from memtrix_as.config import redact
from memtrix_as.db import confirmations, inbox, outbox
from memtrix_as.db.confirmations import Asking, Confirmation
from memtrix_as.db.pool import DOWN, Connection, Pool, reachable
from memtrix_as.errors import MemtrixError
from memtrix_as.matrix import answers

log = logging.getLogger(__name__)

HOW = (
    "React with ✅ or ❌, or type **yes** or **no** (`yes {number}` when several questions are "
    "open). No answer until {until} is a no."
)
CONFIRMED = "✅ **Confirmed** by {who}."
DENIED = "❌ **Denied** by {who}: nothing was done."
EXPIRED = "⌛ **Expired** without an answer: nothing was done."
WITHDRAWN = "⏹ **Withdrawn**: nothing was done."
NOTHING_OPEN = "No question is open here that this could answer."
ALWAYS = "There is no always here: each such command is asked about. Type `yes` or `no`."
OVER = "Question {number} has ended already: it is {state}."
SOONEST = 0.2  # seconds between two looks for what expires


@dataclass(frozen=True, slots=True)
class Said:
    """A yes or no, and which question it names: by its number, or by its event."""

    word: str
    number: int | None = None
    event: str | None = None
    clicked: bool = False


def said(text: str, reply_to: str | None) -> Said | None:
    """What a message answers, when it is an answer and nothing else."""
    match = re.fullmatch(r"\s*(\S{1,20})(?:\s+#?([0-9]{1,9}))?\s*", text)
    found = answers.word(match[1]) if match else None
    if match is None or found is None:
        return None
    return Said(found.word, number(match[2]) if match[2] else None, reply_to)


async def ask(call: Call, connection: Connection, command: Command, asked: Ask) -> None:
    """Put the question into the room."""
    count = await confirmations.next_id(connection)
    limits, zone = call.means.config.limits, call.means.config.timezone
    expires = await confirmations.deadline(connection, limits.approval_timeout)
    question = redact(f"❓ **Question {count}**, about `{command.name}`\n\n{asked.question}")
    how = HOW.format(number=count, until=questions.clock(expires, zone))
    asking = Asking(command.name, asked.details, call.sender, question, expires)
    await confirmations.ask(
        connection, count, call.item.lane, call.incoming.place, asking, f"{question}\n\n{how}"
    )


async def answer(call: Call, said: Said) -> str | None:
    """Take a yes or no, in the transaction of the call; what is to be said about it."""
    if said.word == "always":
        return ALWAYS
    found = await _meant(call, said)
    if isinstance(found, str):
        return None if said.clicked else found
    by = questions.code(call.sender)
    lane = call.item.lane
    if found.state != "open":
        wanted = ("denied",) if said.word == "no" else ("going", "done", "failed")
        if found.answered_by == call.sender and found.state in wanted:
            return None  # a click after the word, or the other way round
        return OVER.format(number=found.id, state=_told(found))
    if found.overdue:
        await confirmations.settle(call.db, found, "expired", None, lane, EXPIRED)
        return OVER.format(number=found.id, state="expired")
    if said.word == "no":
        await confirmations.settle(
            call.db, found, "denied", call.sender, lane, DENIED.format(who=by)
        )
        return None
    log.info("%s confirms %s", call.sender, found.command)
    await confirmations.settle(
        call.db, found, "going", call.sender, lane, CONFIRMED.format(who=by), call.item.id
    )
    command: Command | None = call.get(Commands).get(found.command)
    if command is None or command.then is None:
        await confirmations.end(call.db, found.id, "failed")
        return f"There is no `{found.command}` any more; nothing was done."
    if command.commits:
        if command.slow:
            await inbox.move(call.db, call.item.id, slow_lane(call.item.id))
        return None
    return await carry_out(call, command, found)


async def carry_out(call: Call, command: Command, found: Confirmation) -> str:
    """Do what was confirmed; what came of it, in a sentence."""
    assert command.then
    try:
        if command.commits:
            words = await command.then(call, found.details)
        else:
            async with call.db.transaction():  # so that of what fails nothing stays
                words = await command.then(call, found.details)
    except MemtrixError as exc:
        await confirmations.end(call.db, found.id, "failed")
        return str(exc)
    await confirmations.end(call.db, found.id, "done")
    return words


async def withdraw(call: Call, event_id: str) -> None:
    """Somebody has deleted a question from the room: nobody can say yes to it any more."""
    count = await confirmations.of_event(call.db, call.room_id, event_id)
    found = await confirmations.hold(call.db, call.room_id, count) if count else None
    if found and found.state == "open":
        await confirmations.settle(
            call.db, found, "withdrawn", call.sender, call.item.lane, WITHDRAWN
        )


async def _meant(call: Call, said: Said) -> Confirmation | str:
    """The question that an answer is about; or why it is about none."""
    count = said.number
    if count is None and said.event:
        count = await confirmations.of_event(call.db, call.room_id, said.event)
        if count is None:
            return NOTHING_OPEN
    if count is None:
        waiting = await confirmations.open_in(call.db, call.room_id)
        if len(waiting) > 1:
            each = either([f"{said.word} {c.id}" for c in waiting[-8:]])
            return f"{len(waiting)} questions are open. Type {each}, or reply to one of them."
        if not waiting:
            return NOTHING_OPEN
        count = waiting[0].id
    found = await confirmations.hold(call.db, call.room_id, count)
    return found or f"There is no question {count}."


def _told(found: Confirmation) -> str:
    state = {"going": "confirmed", "done": "confirmed", "failed": "confirmed"}
    by = f" by {questions.code(found.answered_by)}" if found.answered_by else ""
    return f"{state.get(found.state, found.state)}{by}"


def slow_lane(item_id: int) -> str:
    """A lane for one command that may take long."""
    return f"#{item_id}"


class Expiry:
    """Closes the questions that nobody answers.

    It sleeps until the next is due, but not longer than a question lives: so one that is asked
    meanwhile cannot be due before the next look.
    """

    def __init__(self, pool: Pool, longest: float) -> None:
        self._pool = pool
        self._longest = longest

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await confirmations.expire(self._pool, EXPIRED)
                due = await confirmations.next_due(self._pool)
            except DOWN as exc:
                log.warning("The database is away, questions stay open: %s", exc)
                await reachable(self._pool)
                continue
            pause = self._longest if due is None else due
            await asyncio.sleep(max(min(pause, self._longest), SOONEST))


async def say(call: Call, connection: Connection, words: str, *, reply: bool = False) -> None:
    """Put an answer into the room."""
    crowd = call.item.humans > 1 or reply
    await outbox.say(
        connection, call.item.lane, call.incoming.place, redact(words),
        reply_to=call.incoming.event_id if crowd else None,
    )  # fmt: skip
