"""Condensing a session that has outgrown its model: the older part becomes a summary."""

import logging

from memtrix_as.agent import context, courtesy
from memtrix_as.agent.means import Account, Means, NamedModel
from memtrix_as.db import agents, inbox, outbox, sessions
from memtrix_as.db.inbox import Item
from memtrix_as.db.queue import Lease
from memtrix_as.db.sessions import Session
from memtrix_as.errors import GaveWay, ModelEmpty, ModelError
from memtrix_as.messages import Message, Place

log = logging.getLogger(__name__)

PATIENCE = 120.0  # seconds for a summary; messages do not wait for it
CONDENSED = (
    "This conversation has grown long, so I condensed its older part ({count} messages) into a "
    "summary. `/clear` starts afresh."
)


async def condense(means: Means, item: Item, _: Lease) -> bool:
    """Condense the older part of a session, and tell the human; a failure changes nothing.

    It goes on beside the turns of the room: no message waits for it.
    """
    if await inbox.depth(means.pool, item.lane) > 1:
        return False  # asked for once more meanwhile
    agent = await agents.get(means.pool, item.agent)
    place = Place(item.room_id, item.agent)
    account = Account(place, agent.display_name, "condense", item.lane)
    model = means.models.get(agent.model, account)
    limit = context.budget(model.context, 0)
    session = await sessions.load(means.pool, int(item.payload["session"]), limit * 4, whole=True)
    older = context.to_condense(session.messages, limit)
    if not older:
        return False
    try:
        summary = await _summary(means, agent.model, model, session, [s.message for s in older])
    except GaveWay:
        return False  # the end of the next turn asks for this again
    except ModelError as exc:
        log.warning("Session %d could not be condensed: %s", session.id, exc)
        return False
    done = await sessions.condense(means.pool, session.id, summary, max(s.id for s in older))
    if not done or Place(item.room_id, item.agent).among_agents:
        return False  # cleared meanwhile, or nobody reads there
    notice = CONDENSED.format(count=len(older))
    await outbox.say(means.pool, item.lane, place, notice)
    return False


async def _summary(
    means: Means, name: str, model: NamedModel, session: Session, older: list[Message]
) -> str:
    prompt = context.whole(older)
    if session.summary:
        prompt.insert(0, Message("system", context.SUMMARY.format(summary=session.summary)))
    # What even the whole context cannot hold loses its oldest words.
    limit = context.budget(model.context, 200)
    while sum(map(context.tokens, prompt)) > limit and len(prompt) > 1:
        prompt.pop(0)
    while prompt and prompt[0].role == "tool":
        prompt.pop(0)
    prompt.append(Message("user", context.CONDENSE))
    timeout = min(means.config.limits.turn_timeout, PATIENCE)
    made = await courtesy.reply(means, name, model, prompt, timeout=timeout)
    if made and made.message.text.strip():
        return made.message.text
    raise ModelEmpty("the model wrote no summary")
