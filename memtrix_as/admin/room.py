"""What becomes of a message in the management room: it is a command, an answer, or neither."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from memtrix_as.admin import confirm, words
from memtrix_as.admin.command import Ask, Call, Command, Commands, quoted
from memtrix_as.admin.confirm import Said
from memtrix_as.agent import questions
from memtrix_as.agent.means import Means
from memtrix_as.config import role
from memtrix_as.db import agents, confirmations, inbox, management
from memtrix_as.db.inbox import Item
from memtrix_as.db.pool import Connection
from memtrix_as.db.queue import Lease
from memtrix_as.errors import AdminError, MemtrixError
from memtrix_as.matrix import answers

STRANGER = (
    "{who}: only administrators can use this room, so what you write here does nothing. In a room "
    "of your own with me we can talk. Who is an administrator stands in `permissions` of the "
    "configuration."
)
TOO_LATE = "This command reached me {hours:.0f} hours late, so I left it. Type it again."
HELLO = "I take commands here, as plain text. `help` lists them."
TOO_LONG = f"A command has at most {words.LONGEST:,} characters; nothing was done."
OTHERS = (
    "{who} can read this room and is no administrator, so what agents remember and are told is "
    "not shown here. Ask them to leave, or have them made an administrator in `permissions`."
)


async def handle(means: Means, item: Item, _: Lease) -> bool:
    """Carry out one message, click or deletion of the management room."""
    incoming = means.read(item.payload, item.agent)
    call = Call(means, means.pool, item, incoming)
    if role(means.config.permissions, call.sender) != "admin":
        await _turn_away(call)
        return True
    late = (item.received_at - incoming.sent_at).total_seconds() / 3600
    if late > means.config.limits.catch_up_hours and incoming.sent_at.timestamp() > 0:
        return await _within(call, _saying(TOO_LATE.format(hours=late)))
    going = await confirmations.of_item(means.pool, item.id)
    if going is not None:
        return await _go_on(call, going)
    kind, content = item.payload.get("type"), item.payload.get("content")
    if kind == answers.REACTION:
        found = answers.clicked(content) if isinstance(content, dict) else None
        clicked = Said(found[1], event=found[0], clicked=True) if found else None
        return await _answered(call, clicked) if clicked else False
    if kind == "m.room.redaction":
        target = incoming.target or ""
        return await _within(call, lambda c: confirm.withdraw(c, target))
    return await _typed(call)


async def _turn_away(call: Call) -> None:
    """Tell somebody once that the room is not for them; a click asks nothing."""
    async with call.means.pool.acquire() as connection, connection.transaction():
        await inbox.hold(connection, call.item.id)
        if call.item.payload.get("type") == "m.room.message" and await management.tell_once(
            connection, call.room_id, call.sender
        ):
            who = questions.code(call.sender)
            await confirm.say(call, connection, STRANGER.format(who=who), reply=True)
        await inbox.finish(connection, call.item.id)


async def _typed(call: Call) -> bool:
    """A message: a command, or a yes or no."""
    try:
        text = await _text(call)
        if len(text) > words.LONGEST:
            raise AdminError(TOO_LONG)
        line = words.split(text)
        if not line.words:
            return await _within(call, _saying(HELLO))
        known: Commands = call.get(Commands)
        given = confirm.said(line.text, call.incoming.reply_to)
        if given and line.words[0].text.lower() not in known:
            return await _answered(call, given)
        command = known.find(line)
        values = command.bind(line)
        if command.private:
            await _alone(call)
    except AdminError as exc:
        return await _within(call, _saying(str(exc)))
    if command.slow and call.item.lane != confirm.slow_lane(call.item.id):
        return await _move(call)
    if not command.commits:
        return await _within(call, lambda c: _run(c, command, values), command)
    try:
        outcome = await command.run(call, *values)
    except MemtrixError as exc:
        outcome = str(exc)
    return await _within(call, _saying(outcome), command)


async def _text(call: Call) -> str:
    """What was typed, without what may stand before it: `/`, `!`, our name, a backtick."""
    if call.item.payload.get("content", {}).get("msgtype") not in ("m.text", "m.emote"):
        return ""
    agent = await agents.get(call.means.pool, call.item.agent)
    names = {agent.name, agent.display_name, agent.user_id, "memtrix"}
    either = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    text = re.sub(rf"^\s*@??(?:{either})\s*[:,]\s*", "", call.incoming.text, flags=re.IGNORECASE)
    return re.sub(r"^[/!]\s*(?=\w)", "", text.strip().strip("`").strip())


async def _run(call: Call, command: Command, values: list[str]) -> str | Ask:
    return await command.run(call, *values)


async def _alone(call: Call) -> None:
    roles = call.means.config.permissions
    humans = await management.humans(call.means.pool, call.room_id)
    others = [user for user in humans if role(roles, user) != "admin"]
    if others:
        raise AdminError(OTHERS.format(who=", ".join(quoted(user) for user in others[:5])))


async def _move(call: Call) -> bool:
    async with call.means.pool.acquire() as connection, connection.transaction():
        await inbox.hold(connection, call.item.id)
        await inbox.move(connection, call.item.id, confirm.slow_lane(call.item.id))
    return True


async def _answered(call: Call, given: Said) -> bool:
    """Take a yes or no; what commits itself goes on after that."""
    await _within(call, lambda c: confirm.answer(c, given), going=True)
    going = await confirmations.of_item(call.means.pool, call.item.id)
    if going is None:
        return True
    command: Command = call.get(Commands)[going.command]
    return True if command.slow else await _go_on(call, going)


async def _go_on(call: Call, going: confirmations.Confirmation) -> bool:
    """Do what a yes has set going, which commits itself; again after a crash."""
    outcome = await confirm.carry_out(call, call.get(Commands)[going.command], going)
    return await _within(call, _saying(outcome))


Doing = Callable[[Call], Awaitable[str | Ask | None]]


def _saying(outcome: str | Ask) -> Doing:
    async def done(_: Call) -> str | Ask:
        return outcome

    return done


async def _within(
    call: Call, doing: Doing, command: Command | None = None, *, going: bool = False
) -> bool:
    """Do something, say what came of it and end the item, in one transaction.

    With `going`, an item whose yes has begun something does not end with it.
    """
    async with call.means.pool.acquire() as connection, connection.transaction():
        await inbox.hold(connection, call.item.id)
        inner = replace(call, db=connection)
        outcome = await _safely(inner, connection, doing)
        if isinstance(outcome, Ask):
            assert command
            await confirm.ask(inner, connection, command, outcome)
        elif outcome:
            slow = call.item.lane == confirm.slow_lane(call.item.id)
            await confirm.say(call, connection, outcome, reply=slow)
        if not going or await confirmations.of_item(connection, call.item.id) is None:
            await inbox.finish(connection, call.item.id)
    for step in call.later:
        await step()
    return True


async def _safely(call: Call, connection: Connection, doing: Doing) -> Any:
    """What was done; of something that fails as expected nothing stays but its sentence."""
    try:
        async with connection.transaction():
            return await doing(call)
    except MemtrixError as exc:
        return str(exc)
