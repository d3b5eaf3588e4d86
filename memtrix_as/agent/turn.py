"""A turn: one message of a human or an agent, from the inbox to the words that answer it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from memtrix_as.agent import consult as consults
from memtrix_as.agent import context, errand, loop, notices, retries, taint, together
from memtrix_as.agent.consult import Consults, ToAgent
from memtrix_as.agent.gate import Gate
from memtrix_as.agent.inquiry import Inquiry, Patience
from memtrix_as.agent.means import Account, Means, NamedModel
from memtrix_as.agent.offer import offered
from memtrix_as.agent.outlet import Outlet, ToRoom
from memtrix_as.agent.people import others
from memtrix_as.attachments import Attachments
from memtrix_as.config import redact
from memtrix_as.db import (
    approvals,
    consultations,
    corrections,
    inbox,
    outbox,
    sessions,
    turns,
    undeliverable,
)
from memtrix_as.db.inbox import Item
from memtrix_as.db.pool import DOWN, Connection, Pool
from memtrix_as.db.queue import Lease
from memtrix_as.db.turns import Ending, Outgoing, Turn
from memtrix_as.errors import ConfigError, LostTurn, MemtrixError, ModelEmpty, ModelError
from memtrix_as.memory.company import Companies, Company
from memtrix_as.memory.persona import Persona
from memtrix_as.memory.recall import Recollection, reminder
from memtrix_as.memory.search import Hit
from memtrix_as.messages import BROKEN_OFF, Delta, Incoming, Message, Reply, ToolCall, ToolSpec
from memtrix_as.tool import Human, ToolContext

log = logging.getLogger(__name__)

TOO_OLD = "This message reached me {hours:.0f} hours late, so I leave it unanswered."
TOO_SLOW = "I gave up after {seconds:.0f} seconds without an answer from the model."
EMPTY = "The model returned an empty answer. Ask again, or put it differently."
MOST_SEEN = 8  # pictures that a model is shown


async def answer(means: Means, item: Item, lease: Lease) -> bool:
    """Answer a message; every way out of here is visible in the room, if we are in it."""
    if not item.present:
        log.info("%s was shown the door of %s: nobody is there to answer", item.agent, item.room_id)
        await _absent(means, item)
        return True
    incoming = means.read(item.payload, item.agent)
    said, problems = await together.heard(means, item, incoming)
    turn = await turns.begin(means.pool, item, incoming.sender, incoming.place.thread, said)
    for problem in problems:
        await outbox.say_once(means.pool, item.lane, incoming.place, problem, turn.id)
    if turn.state != "running":
        return False
    reply_to = incoming.event_id if item.humans > 1 else None
    show = partial(means.chat.stream, turn.id, incoming.place, incoming.event_id, reply_to)
    return await _work(_Work(means, item, lease, turn, incoming, ToRoom(
        means, item, lease, turn, incoming.place, show,
        # The thread for what is not the answer: that of the message, or one that begins at it.
        aside=incoming.place.thread or incoming.event_id, reply_to=reply_to,
    )))  # fmt: skip


async def _absent(means: Means, item: Item) -> None:
    """End a message whose agent is not in its room any more; its human is told."""
    async with means.pool.acquire() as connection, connection.transaction():
        await turns.give_up(connection, item.id, undeliverable.ABSENT)
        if await inbox.is_last(connection, item):
            why = undeliverable.ABSENT
            await undeliverable.unanswered(connection, item.room_id, item.agent, item.event_id, why)


async def consult(means: Means, item: Item, lease: Lease) -> bool:
    """Answer another agent's question; every way out of here is an answer to its call."""
    c = await consultations.of_item(means.pool, item.id)
    if c is None or c.state != "open":
        return False  # nobody waits for the answer any more
    incoming, said = await consults.heard(means, c, item)
    turn = await turns.begin(means.pool, item, incoming.sender, None, said)
    if turn.state != "running":
        return False
    root = await consultations.root(means.pool, c.root_id)
    outlet = ToAgent(means, item, lease, turn, c, consults.working(means, turn.id, root))
    return await _work(_Work(means, item, lease, turn, incoming, outlet, depth=len(c.chain)))


async def run_errand(means: Means, item: Item, lease: Lease) -> bool:
    """Answer an administrator who asks from elsewhere."""
    incoming, said = await errand.heard(means, item)
    turn = await turns.begin(means.pool, item, incoming.sender, None, said)
    if turn.state != "running":
        return False
    outlet = errand.ToAsker(means, item, lease, turn)
    return await _work(_Work(means, item, lease, turn, incoming, outlet, depth=1))


async def _work(work: "_Work") -> bool:
    """Run a turn until it has ended, or waits."""
    means, turn, item = work.means, work.turn, work.item
    try:
        try:
            ending = await work.run()
        finally:
            await work.outlet.finish()
        if ending is None:
            await approvals.park(means.pool, item, work.lease)
            means.measures.turn("parked")
            return True
        await work.outlet.end(ending, work.outside)
        means.measures.turn(ending.state)
        return True
    except (asyncio.CancelledError, LostTurn):
        means.measures.turn("stopped")
        # The human's /stop reaches us in both ways, at times in both at once.
        text = work.streamed + BROKEN_OFF
        await asyncio.shield(corrections.give_up_draft(means.pool, turn.id, item.lane, text))
        raise
    except DOWN:
        raise  # it goes on once the database is back
    except Exception:
        means.measures.turn("crashed")
        raise


@dataclass
class _Work:
    """What one run of a turn keeps in mind; all of it can be had again from the database."""

    means: Means
    item: Item
    lease: Lease
    turn: Turn
    incoming: Incoming
    outlet: Outlet
    depth: int = 0  # how many agents wait for this turn
    streamed: str = ""
    outside: str = ""  # where text from outside is from that the model has read
    _texts: list[str] = field(default_factory=list)  # what the turn's finished messages say
    _joint: str = ""
    _calls: dict[str, ToolCall] = field(default_factory=dict)  # by id

    async def run(self) -> Ending | None:
        """Run the loop to its end, storing on the way what becomes final.

        None when it has to wait for a human's yes, or another agent's answer.
        """
        limits = self.means.config.limits
        late = (self.item.received_at - self.incoming.sent_at).total_seconds() / 3600
        old = late > limits.catch_up_hours and self.incoming.sent_at.timestamp() > 0
        if old and not self.item.retry:
            return self._failed(TOO_OLD.format(hours=late))
        try:
            async with asyncio.timeout(limits.turn_timeout) as deadline:
                return await self._converse(Patience(deadline))
        except TimeoutError:
            if not deadline.expired():
                raise  # the database's
            return self._failed(TOO_SLOW.format(seconds=limits.turn_timeout))
        except (ModelError, ConfigError) as exc:
            return self._failed(exc)

    async def _converse(self, patience: Patience) -> Ending | None:
        config, turn = self.means.config, self.turn
        place, sender = self.incoming.place, self.incoming.sender
        lane = "" if place.among_agents else self.item.lane
        since = self.item.claimed_at
        account = Account(place, turn.agent_name, "turn", lane, turn.id, since)
        model = self.means.models.get(turn.model, account)
        tools = offered(self.means, turn) if model.tools else {}
        ctx = ToolContext(
            place, sender, self.incoming.event_id, config.timezone, self.turn.session_id,
            self.turn.id,
            {**self.means.services, Consults: Consults(self.means, self.item, self.lease)},
            depth=self.depth,
        )  # fmt: skip
        specs = sum(t.spec.length for t in tools.values()) // 4
        prompt, asked_by = await self._prompt(ctx, model, specs)
        ctx = replace(ctx, history=prompt.messages)
        gate = Gate(
            self.means.pool, config, self.item, self.lease, self.turn.agent_name, ctx,
            self.outlet.reply_to, self._hush, self.means.chat.post, asked_by,
        )  # fmt: skip
        human = Inquiry(gate, patience, self.means.answers, self.outlet.resume)
        ctx = replace(ctx, services={**ctx.services, Human: human})
        steps = loop.run(
            _Timed(model, config.limits.turn_timeout), prompt.messages, tools, ctx, gate,
            self._feed, config.limits.tool_rounds,
        )  # fmt: skip
        async for reply in steps:
            if reply.message.role == "assistant":
                self._texts.append(reply.message.text)
                self._joint = "\n\n"
                if not reply.message.calls:
                    self.outside = "; ".join(taint.sources(prompt.messages)[:1])
                    return self._done(reply, prompt.crowded)
            gate.message_id = await self._store(reply) or gate.message_id
        if not loop.unanswered(prompt.messages):
            raise ModelEmpty(EMPTY)
        return None

    async def _prompt(
        self, ctx: ToolContext, model: NamedModel, specs: int
    ) -> tuple[context.Prompt, int]:
        """What the model is shown beside `specs` tokens of tools, and what asks for calls now.

        That is the id of the turn's last message of the model, 0 if there is none.
        """
        turn, memory = self.turn, self.means.config.memory
        recalled = min(memory.recall_tokens, model.context // 8) if turn.recall else 0
        share = context.persona_budget(model.context, specs + recalled)
        first, company = await self._persona(ctx, share)
        limit = context.budget(model.context, context.tokens(first) + specs + recalled)
        session, hits = await asyncio.gather(
            sessions.load(self.means.pool, turn.session_id, limit, turn.id),
            self._remember(recalled, company),
        )
        prompt = context.fit(session, first, limit)
        shown = min((stored.id for stored in session.messages), default=0)
        await self._see(prompt.messages, model)
        remembered = reminder(hits, self.incoming.place.room_id, recalled, shown)
        context.remind(prompt.messages, remembered)
        asked_by = 0
        for stored in session.messages:
            if stored.turn_id == turn.id and stored.message.role == "assistant":
                asked_by = stored.id
                self._calls = {call.id: call for call in stored.message.calls}
                if stored.id > turn.said_to:
                    self._say(stored.message.text)
                    self._texts.append(stored.message.text)
        return prompt, asked_by

    async def _persona(self, ctx: ToolContext, limit: int) -> tuple[Message, Company]:
        """The system prompt for those who are present, and who that is."""
        companies, persona, place = ctx.get(Companies), ctx.get(Persona), ctx.place
        await companies.meet(ctx.sender)  # the first who writes may be the owner
        company, seen = await asyncio.gather(
            companies.of(place.room_id, speaker=ctx.sender), persona.look(place.agent)
        )
        now, name = datetime.now(ctx.timezone), self.turn.agent_name
        known = others(self.means.colleagues(), place.agent)
        text = await persona.prompt(
            place.agent, company, now, limit, name=name, seen=seen, others=known
        )
        return Message("system", text), company

    async def _see(self, messages: list[Message], model: NamedModel) -> None:
        """Show the newest pictures to a model that can see."""
        attachments: Attachments = self.means.services[Attachments]
        most = max(1, min(MOST_SEEN, model.context // 4096)) if model.vision else 0
        await attachments.show(self.incoming.place.agent, messages, most)

    async def _remember(self, budget: int, company: Company) -> list[Hit]:
        """What the agent remembers of the human's message."""
        if not budget:
            return []
        incoming, memory = self.incoming, self.means.services[Recollection]
        found: list[Hit] = await memory.before(incoming.place.agent, company, incoming.text)
        return found

    def _feed(self, delta: Delta) -> None:
        self._say(delta.text)

    def _say(self, text: str) -> None:
        if text:
            piece = (self._joint if self.streamed else "") + text
            self._joint = ""
            self.streamed += piece
            self.outlet.feed(piece)

    async def _hush(self) -> str:
        """Show no more, and hand over what was said: a question comes after it."""
        await self.outlet.finish()
        said, self.streamed, self._texts = self.streamed, "", []
        return said

    async def _store(self, reply: Reply) -> int | None:
        """Store a message, with what is told of it; its id if it asks for calls."""
        pool, told = self.means.pool, self._told(reply)
        if told:
            place = replace(self.incoming.place, thread=self.outlet.aside)
            async with pool.acquire() as connection, connection.transaction():
                stored = await self._append(connection, reply)
                for text in told:
                    await outbox.say(connection, self.item.lane, place, text, turn_id=self.turn.id)
            self.means.chat.post(self.item.lane)
        else:
            stored = await self._append(pool, reply)
        return stored if reply.message.calls else None

    async def _append(self, db: Connection | Pool, reply: Reply) -> int:
        message = reply.message
        stored = await sessions.append(
            db,
            self.lease,
            self.turn.session_id,
            self.turn.id,
            (message, context.tokens(message)),
            model=self.turn.model if message.role == "assistant" else None,
            usage=reply.usage,
        )
        if stored is None:
            raise LostTurn(f"turn {self.turn.id} was ended meanwhile")
        return stored

    def _told(self, reply: Reply) -> list[str]:
        """What those are told who want to see reasoning and tool calls."""
        message = reply.message
        told: list[str] = []
        self._calls |= {call.id: call for call in message.calls}
        if self.outlet.aside is None:
            return told
        if self.turn.reasoning and message.reasoning:
            told.append(notices.thought(message.reasoning))
        call = self._calls.get(message.call_id or "")
        # An exchange between agents is shown as such.
        exchange = call and call.name == consults.ASK and not message.failed
        if self.turn.verbose and call and not exchange:
            told.append(
                notices.called(call, message.text, failed=message.failed, seconds=reply.seconds)
            )
        return told

    def _done(self, last: Reply, crowded: bool) -> Ending:
        text = "\n\n".join(t.strip() for t in self._texts if t.strip())
        if not text:
            raise ModelEmpty(EMPTY)
        words = [Outgoing(t, "notice", thread=self.outlet.aside) for t in self._told(last)]
        return Ending(
            "done",
            message=(last.message, context.tokens(last.message)),
            model=self.turn.model,
            usage=last.usage,
            words=[*words, Outgoing(text, "text", self.outlet.reply_to)],
            condense=crowded,
        )

    def _failed(self, cause: str | MemtrixError) -> Ending:
        why = redact(str(cause))  # a provider may quote what it was sent
        log.warning("Turn %d failed: %s", self.turn.id, cause)
        words = [Outgoing(self.streamed + BROKEN_OFF)] if self.streamed.strip() else []
        told = f"{why} {retries.way(self.item)}".rstrip()
        words.append(Outgoing(told, "notice", self.incoming.event_id))
        # Said to the model too: after two questions in a row some models refuse to go on.
        message = Message("assistant", f"(I gave no answer: {why})")
        return Ending("failed", (message, context.tokens(message)), words=words, error=why)


class _Timed:
    """A model as the loop sees it: how long it may take is settled."""

    def __init__(self, model: NamedModel, timeout: float) -> None:
        self._model = model
        self._timeout = timeout

    def stream(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec]
    ) -> AsyncIterator[Delta | Reply]:
        return self._model.stream(messages, tools, timeout=self._timeout)
