"""Agents ask each other: a question parks the caller's turn, and is a turn of whom it is put to.

Nothing waits meanwhile, so a question survives a restart, and any number of them cost rows only.
What the asked agent is told and remembers is for the humans on whose behalf it is asked.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from memtrix_as.agent import context, marking, questions, taint
from memtrix_as.agent.means import Means
from memtrix_as.config import redact
from memtrix_as.db import agents, consultations, corrections, turns
from memtrix_as.db.consultations import Asking, Consultation, Root
from memtrix_as.db.inbox import Item
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.db.queue import Lease
from memtrix_as.db.turns import Ending, Said, Turn
from memtrix_as.errors import LostTurn, ToolError, Unanswered
from memtrix_as.memory.company import Companies
from memtrix_as.messages import Incoming, Message, Place
from memtrix_as.tool import Outside, Stream, ToolContext

ASK = "ask_agent"  # the tool that brings us questions
LONGEST = 8_000  # characters of a question
MOST = 40  # questions that one message of a human may lead to, over all agents
SHOWN = 4_000  # characters of an exchange that a room is shown
NOTED = 600  # characters of question and answer each that a note keeps

ASKED = """\
[Another agent, {caller}, asks you this on behalf of {whom}. Answer in full, in one message: your \
words go to {caller} only, and nobody can confirm anything here.]
{question}"""
NOTE = """\
[A note, not from a human: {caller} asked you on {day} on behalf of the human here: {question} \
You answered: {answer}]"""
YOURSELF = "You are {name} yourself; answer it, or ask another agent."
CYCLE = "{name} was not asked: {name} waits for this very answer ({chain}). Answer without it."
DEEP = (
    "{name} was not asked: {chain} wait for each other already, and at most {depth} agents may. "
    "Answer without it."
)
ENOUGH = f"{{name}} was not asked: {MOST} questions among agents are enough for one message."
LATE = "{name} gave no answer within {seconds:.0f} seconds."


class Consults:
    """What one turn asks of other agents."""

    def __init__(self, means: Means, item: Item, lease: Lease) -> None:
        self._means = means
        self._item = item
        self._lease = lease

    async def ask(
        self, ctx: ToolContext, find: Callable[[], Awaitable[agents.Agent]], question: str
    ) -> str:
        """The answer, if there is one already; else Unanswered, and the turn waits for it.

        `find` says who is asked, by then perhaps there no more. ToolError if there is no answer.
        """
        known = await consultations.of_call(self._means.pool, ctx.turn_id, ctx.call_id)
        if known is None:
            await self._put(ctx, await find(), question)
        if known is None or known.state == "open":
            raise Unanswered("another agent is being asked")
        name = await called(self._means.pool, known.asked)
        if known.state != "answered":
            raise ToolError(f"{name} gave no answer. {known.answer}".strip())
        text = marking.mark(known.answer, f"the agent {name}")
        return Outside(text) if known.answer_outside else text

    async def _put(self, ctx: ToolContext, asked: agents.Agent, question: str) -> None:
        pool, limits = self._means.pool, self._means.config.limits
        text = question.strip()
        if not 0 < len(text) <= LONGEST:
            raise ToolError(f"A question has 1 to {LONGEST} characters; this one has {len(text)}.")
        behind = await consultations.of_item(pool, self._item.id)
        chain = [*behind.chain, self._item.agent] if behind else [self._item.agent]
        root_id = behind.root_id if behind else self._item.id
        await self._allowed(asked, chain)
        company = await ctx.get(Companies).of(ctx.place.room_id, speaker=ctx.sender)
        outside = taint.sources(ctx.history)
        a = Asking(
            call_id=ctx.call_id,
            asked=asked.name,
            question=redact(text),
            outside=outside[0] if outside else "",
            chain=chain,
            root_id=root_id,
            people=company.people,
            seconds=limits.consult_timeout,
            most=MOST,
        )
        shown = exchange("asks", await called(pool, self._item.agent), asked.display_name, text)
        if not await consultations.ask(pool, self._item, self._lease, a, shown):
            raise ToolError(ENOUGH.format(name=asked.display_name))
        self._means.chat.post(await consultations.lane(pool, root_id))

    async def _allowed(self, asked: agents.Agent, chain: list[str]) -> None:
        name, depth = asked.display_name, self._means.config.limits.consult_depth
        if asked.name == chain[-1]:
            raise ToolError(YOURSELF.format(name=name))
        if asked.name in chain or len(chain) >= depth + 1:
            names = [await called(self._means.pool, link) for link in chain]
            told = " asked ".join(names)
            if asked.name in chain:
                raise ToolError(CYCLE.format(name=name, chain=told))
            raise ToolError(DEEP.format(name=name, chain=" and ".join(names), depth=depth))


async def called(db: Connection | Pool, agent: str) -> str:
    """What an agent is called, or was: its key, once it is gone."""
    try:
        return (await agents.get(db, agent)).display_name
    except LostTurn:
        return agent


def exchange(verb: str, who: str, whom: str, text: str) -> str:
    """What those are shown who watch agents talk with each other."""
    cut = text if len(text) <= SHOWN else f"{text[:SHOWN]} … ({len(text):,} characters)"
    quoted = "\n".join(f"> {line}" for line in redact(cut).splitlines())
    return f"💬 **{questions.plain(who, 60)}** {verb} **{questions.plain(whom, 60)}**\n\n{quoted}"


@dataclass(frozen=True)
class ToAgent:
    """Where the words of a turn go that another agent has asked for."""

    means: Means
    item: Item
    lease: Lease
    turn: Turn
    consultation: Consultation
    stream: Stream | None

    aside: str | None = None  # nobody is told how it goes
    reply_to: str | None = None

    def feed(self, text: str) -> None:
        """Nobody reads along."""

    async def finish(self) -> None:
        if self.stream:
            await self.stream.finish()

    def resume(self) -> None:
        """Nobody is asked anything in between."""

    async def end(self, ending: Ending, outside: str) -> None:
        """Hand the answer over, in the commit that ends the turn."""
        place, c = Place(self.item.room_id, self.item.agent), self.consultation
        text = ending.error or next((w.text for w in ending.words if w.kind == "text"), "")
        async with self.means.pool.acquire() as db, db.transaction():
            still = await consultations.lock(db, self.item.id)
            if ending.error:
                await corrections.unask(db, self.turn.id)
            await turns.end(db, self.item, self.lease, self.turn, place, replace(ending, words=()))
            if still:
                state: consultations.State = "failed" if ending.error else "answered"
                await consultations.settle(db, c, state, text, outside)
                await told(self.means, db, c, text, outside, answered=state == "answered")
        self.means.chat.post(await consultations.lane(self.means.pool, c.root_id))


async def told(
    means: Means, db: Connection, c: Consultation, text: str, outside: str, *, answered: bool
) -> None:
    """Tell those of an answer who watch, and the asked agent where it talks with the same human."""
    caller, asked = await called(db, c.caller), await called(db, c.asked)
    verb = "answers" if answered else "gives no answer to"
    await consultations.show(db, c, exchange(verb, asked, caller, text))
    root = await consultations.root(db, c.root_id)
    if answered and root:
        note = NOTE.format(
            caller=caller,
            day=f"{c.asked_at.astimezone(means.config.timezone):%Y-%m-%d}",
            question=_quoted(c.question),
            answer=_quoted(text),
        )
        tokens = context.tokens(Message("user", note))
        await consultations.note(db, c, root.sender, note, tokens, c.outside or outside)


def _quoted(text: str) -> str:
    """A text in quotes, which nothing in it can leave."""
    cut = text if len(text) <= NOTED else f"{text[:NOTED]} …"
    return json.dumps(cut, ensure_ascii=False)


async def heard(means: Means, c: Consultation, item: Item) -> tuple[Incoming, list[Said]]:
    """A question as its turn reads it."""
    caller = await agents.get(means.pool, c.caller)
    company = await means.services[Companies].of(item.room_id)
    whom = ", ".join(company.people) or "nobody"
    question = marking.mark(c.question, c.outside) if c.outside else c.question
    text = ASKED.format(caller=caller.display_name, whom=whom, question=question)
    message = Message("user", text, outside=c.outside)
    place = Place(item.room_id, item.agent)
    incoming = Incoming(f"{KEY}{c.id}", place, caller.user_id, c.question, item.received_at)
    return incoming, [Said(item.id, None, message, context.tokens(message))]


KEY = "~"  # begins what stands for the event id of a question


def working(means: Means, turn_id: int, root: Root | None) -> Stream | None:
    """Show the humans behind a question that their agent still works."""
    if root is None or root.done:
        return None
    return means.chat.stream(turn_id, root.place, root.event_id, None)


async def expire(means: Means, most: int) -> int:
    """End the questions whose time is up; returns how many there were."""
    async with means.pool.acquire() as db, db.transaction():
        found = await consultations.due(db, most)
        for c in found:
            name = await called(db, c.asked)
            why = LATE.format(name=name, seconds=means.config.limits.consult_timeout)
            await consultations.settle(db, c, "failed", why)
            await told(means, db, c, why, "", answered=False)
            await corrections.drop(db, c)
    return len(found)
