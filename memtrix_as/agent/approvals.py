"""What a human answers to a question about a call, and what becomes of it when nobody does."""

import asyncio
import logging

from memtrix_as.agent import consult, questions
from memtrix_as.agent.means import Means
from memtrix_as.config import role
from memtrix_as.db import approvals, consultations, inbox, outbox, permissions
from memtrix_as.db.approvals import Approval
from memtrix_as.db.inbox import Arrival, Item
from memtrix_as.db.offers import OFFER
from memtrix_as.db.pool import DOWN, Connection, reachable
from memtrix_as.db.queue import Lease
from memtrix_as.messages import Place

log = logging.getLogger(__name__)

NOTHING_OPEN = "There is no open question that this could answer."
AMBIGUOUS = "More than one question is open. Reply to the one that you mean, or react to it."
NOT_YOURS = "{who}: only {asked} or an administrator can answer this question; it stays open."
OVER = "This question was closed before your answer came. {outcome}"
AT_ONCE = 100  # questions that expire in one transaction
RECOVERY = 5.0  # seconds until the next look after one that failed
SOONEST = 0.2  # seconds between two looks while somebody else has a due question in hand


async def answer(means: Means, item: Item, _: Lease) -> bool:
    """Record a yes, a no or an always, and let the turn go on, in one commit."""
    sender, word = str(item.payload["sender"]), str(item.payload["answer"])
    place = Place(item.room_id, item.agent, item.payload.get("thread"))
    async with means.pool.acquire() as connection, connection.transaction():
        await inbox.hold(connection, item.id)
        words: str | None
        if item.payload.get("approval") is None:
            words = AMBIGUOUS if item.payload.get("ambiguous") else NOTHING_OPEN
        else:
            known = await approvals.hold(connection, int(item.payload["approval"]))
            words = await _answered(means, connection, item, known, (sender, word))
        if words:
            reply_to = item.event_id if not item.payload.get("reaction") else None
            await outbox.say(connection, item.lane, place, words, reply_to=reply_to)
        await inbox.finish(connection, item.id)
    return True


async def _answered(
    means: Means, connection: Connection, item: Item, known: Approval | None, said: tuple[str, str]
) -> str | None:
    """Do what an answer says; the words to tell the human, if there are any."""
    sender, word = said
    if known is None:
        return NOTHING_OPEN
    if sender != known.asked and role(means.config.permissions, sender) != "admin":
        if not await approvals.tell_once(connection, known, sender):
            return None
        return NOT_YOURS.format(who=questions.code(sender), asked=questions.code(known.asked))
    if known.state == "open" and known.overdue:
        await _expire(means, connection, known, item.lane)
        return OVER.format(outcome=_outcome(means, known, "expired"))
    if known.state != "open":
        wanted = "denied" if word == "no" else "approved"
        if item.payload.get("reaction") and (known.state, known.answered_by) == (wanted, sender):
            return None  # a click after the word, or the other way round
        return OVER.format(outcome=_outcome(means, known, known.state))
    tool = means.tools.get(known.tool)
    each = tool is not None and tool.each and word == "always"
    await decide(connection, known, (sender, "yes" if each else word), item.lane)
    return None


async def decide(connection: Connection, known: Approval, said: tuple[str, str], lane: str) -> None:
    """Close an open question as `said`: by whom, and whether yes, no or always."""
    sender, word = said
    log.info("%s says %s to %s in %s", sender, word, known.tool, known.room_id)
    if word == "no":
        outcome = questions.denied(sender, inside=known.ordinal > 0)
        await approvals.settle(connection, known, "denied", sender, lane, outcome)
        return
    if known.tool == OFFER:
        target = str(known.arguments["agent"])
        payload = {"human": known.asked, "agent": known.agent}
        opening = inbox.controls(known.room_id, target)
        await inbox.put(
            connection, [Arrival(opening, known.tool, known.room_id, target, None, payload)]
        )
        word = "yes"
    always = word == "always" and not known.ordinal  # a tool's own question is asked each time
    if always:
        await permissions.give(
            connection, known.agent, known.room_id, known.tool, sender, wary=known.wary
        )
    outcome = questions.approved(sender, always)
    await approvals.settle(connection, known, "approved", sender, lane, outcome)


def _outcome(means: Means, known: Approval, state: str) -> str:
    by = known.answered_by or ""
    if state == "approved":
        return questions.approved(by, False)
    if state == "denied":
        return questions.denied(by, inside=known.ordinal > 0)
    if state == "expired":
        when = questions.clock(known.expires_at, means.config.timezone)
        return questions.expired(when, inside=known.ordinal > 0)
    return approvals.CUT if known.ordinal else approvals.ENDED


async def question_deleted(connection: Connection, item: Item, event_id: str) -> None:
    """Somebody has deleted a question from the room: nobody can say yes to it any more."""
    approval_id = await approvals.of_event(connection, item.room_id, event_id)
    known = await approvals.hold(connection, approval_id) if approval_id else None
    if known and known.state == "open":
        by = str(item.payload.get("sender", ""))
        await approvals.settle(connection, known, "denied", by, item.lane, "")


class Expiry:
    """Closes the questions to humans and agents that nobody answers: one timer for all of them.

    It sleeps until the next is due, but not longer than a question lives: so one that another
    process asks meanwhile cannot be due before the next look, and nobody need tell us of it.
    """

    def __init__(self, means: Means) -> None:
        self._means = means
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="expiry")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        limits = self._means.config.limits
        longest = min(limits.approval_timeout, limits.consult_timeout)
        while True:
            try:
                await self.look()
                due = await self._next()
            except DOWN as exc:
                log.warning("The database is away, questions stay open: %s", exc)
                await reachable(self._means.pool)
                continue
            except Exception:  # one background job: were it to end, no question would expire
                log.exception("Looking for overdue questions failed; trying again")
                due = RECOVERY
            await asyncio.sleep(max(min(longest if due is None else due, longest), SOONEST))

    async def _next(self) -> float | None:
        pool = self._means.pool
        times = [await approvals.next_due(pool), await consultations.next_due(pool)]
        return min((due for due in times if due is not None), default=None)

    async def look(self) -> None:
        """Close all that is due now."""
        pool = self._means.pool
        while True:
            async with pool.acquire() as connection, connection.transaction():
                found = await approvals.due(connection, AT_ONCE)
                for known in found:
                    await _expire(self._means, connection, known, None)
            late = await consult.expire(self._means, AT_ONCE)
            if len(found) < AT_ONCE and late < AT_ONCE:
                return


async def _expire(means: Means, connection: Connection, known: Approval, lane: str | None) -> None:
    log.info("Nobody answered whether %s may run %s", known.agent, known.tool)
    lane = lane or inbox.turns(known.agent, known.room_id)
    outcome = _outcome(means, known, "expired")
    await approvals.settle(connection, known, "expired", None, lane, outcome)
