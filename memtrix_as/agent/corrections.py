"""A human changes or withdraws a message: before, while and after it is answered."""

from memtrix_as.agent import approvals, context
from memtrix_as.agent.means import Means
from memtrix_as.attachments import Attachments
from memtrix_as.db import corrections, inbox
from memtrix_as.db.inbox import Item
from memtrix_as.db.queue import Lease
from memtrix_as.memory.journals import Journals

FAILED = ("failed", "stopped")


async def edit(means: Means, item: Item, _: Lease) -> bool:
    """Let an unanswered message have its new words; one that is answered stays as it was."""
    change = means.read(item.payload, "")
    speaker = (item.speaker or change.sender) if item.humans > 1 else None
    attachments: Attachments = means.services[Attachments]
    async with means.pool.acquire() as connection, connection.transaction():
        await inbox.hold(connection, item.id)
        for target in await corrections.of_event(connection, item.room_id, change.target or ""):
            if target.sender != change.sender:
                continue
            if target.done:
                if target.state in FAILED or (target.state is None and target.given_up):
                    # For when it is tried again.
                    await corrections.reword(connection, item.id, target.id)
                continue
            event = await corrections.reword(connection, item.id, target.id)
            if event is not None and target.state in ("running", "parked"):
                # What it may reply to is not looked up: that could take long, and rows are locked.
                said = means.read(event, target.agent)
                files = await attachments.known(said, connection)
                message = context.said(said, speaker=speaker, quoted=None, files=files)
                words = (message, context.tokens(message))
                await corrections.restart(connection, target.lane, target.turn_id)
                await corrections.resay(connection, target.turn_id, change.target or "", words)
        await corrections.done(connection, item.id)
    return True


async def withdraw(means: Means, item: Item, _: Lease) -> bool:
    """Take a message back: out of the queue, out of the work, out of what models see."""
    target_id = means.read(item.payload, "").target or ""
    attachments: Attachments = means.services[Attachments]
    async with means.pool.acquire() as connection, connection.transaction():
        await inbox.hold(connection, item.id)
        for target in await corrections.of_event(connection, item.room_id, target_id):
            if target.done:
                continue
            if target.state in ("running", "parked"):
                if await corrections.others(connection, target.turn_id, target_id):
                    await corrections.restart(connection, target.lane, target.turn_id)
                else:
                    await corrections.withdraw(connection, target.lane, target.turn_id)
            else:
                await inbox.finish(connection, target.id, "withdrawn by its sender")
        await approvals.question_deleted(connection, item, target_id)
        await corrections.blank(connection, item.room_id, target_id)
        await attachments.withdraw(connection, item.room_id, target_id)
        journals: Journals = means.services[Journals]
        await journals.withdraw(connection, item.room_id, target_id)
        await inbox.finish(connection, item.id)
    return True
