"""What a turn answers: a message, and what belongs to it though it came as events of its own.

Clients send each file as an event, and people send the picture first and then ask about it; so a
message with files waits for a moment for what comes right behind it.
"""

import asyncio
from dataclasses import replace

from memtrix_as.agent import context, marking
from memtrix_as.agent.means import Means
from memtrix_as.attachments import Attachments
from memtrix_as.db import inbox, outbox
from memtrix_as.db.inbox import Item
from memtrix_as.db.turns import Said
from memtrix_as.messages import Incoming

QUIET = 1.0  # seconds without another file after which nothing more is waited for
LONGEST = 6.0  # seconds that are waited in all
MOST = 20  # messages that are answered as one

ANOTHER = "another agent's words"
NOT_HAD = "I could not get the file {name}: {why}."


async def heard(means: Means, item: Item, incoming: Incoming) -> tuple[list[Said], list[str]]:
    """What the turn answers, files fetched; and what the human should know of those that failed."""
    parts = [(item.id, incoming)]
    if incoming.attachments:
        parts += await _following(means, item, incoming)
    crowd = item.humans > 1 or item.hops > 0  # the model has to know who speaks
    said, problems = [], []
    keeper: Attachments = means.services[Attachments]
    for item_id, part in parts:
        quoted = None
        if part.reply_to:
            quoted = await outbox.quoted(means.pool, part.place.room_id, part.reply_to)
            quoted = quoted or await means.chat.quote(part.place, part.reply_to)
        files = await keeper.keep(item_id, part, means.chat.download)
        problems += [NOT_HAD.format(name=context.named(f), why=f.why) for f in files if f.why]
        speaker = (item.speaker or part.sender) if crowd else None
        outside = await _outside(means, item, part)
        if outside:
            part = replace(part, text=marking.mark(part.text, outside))
        message = context.said(part, speaker=speaker, quoted=quoted, files=files)
        message = replace(message, outside=outside)
        said.append(Said(item_id, part.event_id, message, context.tokens(message)))
    return said, problems


async def _outside(means: Means, item: Item, part: Incoming) -> str:
    """Where text from outside is from that an agent had read before it handed a message on."""
    if not item.hops:
        return ""
    source = await outbox.outside(means.pool, part.place.room_id, part.event_id)
    return ANOTHER if source is None else source


async def _following(means: Means, item: Item, first: Incoming) -> list[tuple[int, Incoming]]:
    """The files right behind a message, and the words behind them if there were none with it."""
    clock = asyncio.get_running_loop().time
    deadline, found = clock() + LONGEST, 0
    while True:
        parts, whole = await _waiting(means, item, first)
        if whole or (found == len(parts) and clock() > deadline - LONGEST + QUIET / 2):
            return parts
        if clock() >= deadline:
            return parts
        found = len(parts)
        await asyncio.sleep(QUIET)


async def _waiting(
    means: Means, item: Item, first: Incoming
) -> tuple[list[tuple[int, Incoming]], bool]:
    """What belongs to a message as far as it is there; True when nothing more can."""
    parts: list[tuple[int, Incoming]] = []
    rows = await inbox.following(means.pool, item, MOST)
    if rows is None:
        return [], True
    spoken = bool(first.text)
    for row in rows:
        part = means.read(row.payload, item.agent)
        if part.place != first.place or (not part.attachments and spoken):
            return parts, True
        parts.append((row.id, part))
        spoken = spoken or bool(part.text)
        if not part.attachments:
            return parts, True
    return parts, len(parts) >= MOST - 1
