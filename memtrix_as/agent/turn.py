"""A turn: one human message, from the inbox to the words that answer it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime

from memtrix_as.agent import context, loop, notices, offer, together
from memtrix_as.agent.gate import Gate
from memtrix_as.agent.means import Means, NamedModel
from memtrix_as.attachments import Attachments
from memtrix_as.config import redact
from memtrix_as.db import approvals, corrections, outbox, sessions, turns
from memtrix_as.db.inbox import Item
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.db.queue import Lease
from memtrix_as.db.turns import Ending, Outgoing, Turn
from memtrix_as.errors import ConfigError, LostTurn, ModelEmpty, ModelError
from memtrix_as.memory.company import Companies
from memtrix_as.memory.persona import Persona
from memtrix_as.memory.recall import Recollection, reminder
from memtrix_as.memory.search import Hit
from memtrix_as.messages import Delta, Incoming, Message, Reply, ToolCall, ToolSpec
from memtrix_as.tool import Stream, ToolContext

log = logging.getLogger(__name__)

TOO_OLD = "This message reached me {hours:.0f} hours late, so I leave it unanswered."
TOO_SLOW = "I gave up after {seconds:.0f} seconds without an answer from the model."
EMPTY = "The model returned an empty answer. Ask again, or put it differently."
MOST_SEEN = 8  # pictures that a model is shown
BROKEN_OFF = "\n\n*(broken off)*"


async def answer(means: Means, item: Item, lease: Lease) -> bool:
    """Answer a message; every way out of here is visible in the room, if we are in it."""
    if not item.present:
        log.info("%s was shown the door of %s: nobody is there to answer", item.agent, item.room_id)
        return False
    incoming = means.read(item.payload, item.agent)
    crowd = item.humans > 1
    said, problems = await together.heard(means, item, incoming)
    turn = await turns.begin(means.pool, item, incoming.sender, incoming.place.thread, said)
    for problem in problems:
        await outbox.say_once(means.pool, item.lane, incoming.place, problem, turn.id)
    if turn.state != "running":
        return False
    reply_to = incoming.event_id if crowd else None
    stream = means.chat.stream(turn.id, incoming.place, incoming.event_id, reply_to)
    work = _Work(means, item, lease, turn, incoming, stream)
    try:
        try:
            ending = await work.run(reply_to)
        finally:
            await stream.finish()
        if ending is None:
            await approvals.park(means.pool, item, lease)
            return True
        await turns.end(means.pool, item, lease, turn, incoming.place, ending)
        return True
    except (asyncio.CancelledError, LostTurn):
        # The human's /stop reaches us in both ways, at times in both at once.
        text = work.streamed + BROKEN_OFF
        await asyncio.shield(corrections.give_up_draft(means.pool, turn.id, item.lane, text))
        raise


class _Work:
    """What one run of a turn keeps in mind; all of it can be had again from the database."""

    def __init__(
        self,
        means: Means,
        item: Item,
        lease: Lease,
        turn: Turn,
        incoming: Incoming,
        stream: Stream,
    ) -> None:
        self._means = means
        self._item = item
        self._lease = lease
        self._turn = turn
        self._incoming = incoming
        self._stream = stream
        self._texts: list[str] = []  # what the turn's finished messages say
        self._joint = ""
        self._calls: dict[str, ToolCall] = {}  # by id
        self.streamed = ""

    async def run(self, reply_to: str | None) -> Ending | None:
        """Run the loop to its end, storing on the way what becomes final.

        None when it has to wait for a human's yes.
        """
        limits = self._means.config.limits
        late = (self._item.received_at - self._incoming.sent_at).total_seconds() / 3600
        if late > limits.catch_up_hours and self._incoming.sent_at.timestamp() > 0:
            return self._failed(TOO_OLD.format(hours=late))
        try:
            async with asyncio.timeout(limits.turn_timeout) as deadline:
                return await self._converse(reply_to)
        except TimeoutError:
            if not deadline.expired():
                raise  # the database's
            return self._failed(TOO_SLOW.format(seconds=limits.turn_timeout))
        except (ModelError, ConfigError) as exc:
            return self._failed(str(exc))

    async def _converse(self, reply_to: str | None) -> Ending | None:
        config, model = self._means.config, self._means.models.get(self._turn.model)
        place, sender = self._incoming.place, self._incoming.sender
        tools = await offer.offered(self._means, place.agent) if model.tools else {}
        ctx = ToolContext(
            place, sender, self._incoming.event_id, config.timezone, self._turn.session_id,
            self._turn.id, self._means.services,
        )  # fmt: skip
        specs = sum(len(str(t.spec)) for t in tools.values()) // 4
        recalled = min(config.memory.recall_tokens, model.context // 8) if self._turn.recall else 0
        share = context.persona_budget(model.context, specs + recalled)
        first = await self._persona(ctx, share)
        limit = context.budget(model.context, context.tokens(first) + specs + recalled)
        session, hits = await asyncio.gather(
            sessions.load(self._means.pool, self._turn.session_id, limit),
            self._remember(recalled),
        )
        prompt = context.fit(session, first, limit)
        shown = min((stored.id for stored in session.messages), default=0)
        await self._see(prompt.messages, model)
        memory = reminder(hits, self._incoming.place.room_id, recalled, shown)
        context.remind(prompt.messages, memory)
        asked_by = 0
        for stored in session.messages:
            if stored.turn_id == self._turn.id and stored.message.role == "assistant":
                asked_by = stored.id
                self._calls = {call.id: call for call in stored.message.calls}
                if stored.id > self._turn.said_to:
                    self._say(stored.message.text)
                    self._texts.append(stored.message.text)
        ctx = replace(ctx, history=prompt.messages)
        gate = Gate(
            self._means.pool, config, self._item, self._lease, self._turn.agent_name, ctx, reply_to,
            self._hush, self._means.chat.post, asked_by,
        )  # fmt: skip
        steps = loop.run(
            _Timed(model, config.limits.turn_timeout), prompt.messages, tools, ctx, gate,
            self._feed, config.limits.tool_rounds,
        )  # fmt: skip
        async for reply in steps:
            if reply.message.role == "assistant":
                self._texts.append(reply.message.text)
                self._joint = "\n\n"
                if not reply.message.calls:
                    return self._done(reply, reply_to, prompt.crowded)
            gate.message_id = await self._store(reply) or gate.message_id
        if not gate.waiting:
            raise ModelEmpty(EMPTY)
        return None

    async def _persona(self, ctx: ToolContext, limit: int) -> Message:
        """The system prompt, for those who are present."""
        companies, persona, place = ctx.get(Companies), ctx.get(Persona), ctx.place
        await companies.meet(ctx.sender)  # the first who writes may be the owner
        company, seen = await asyncio.gather(
            companies.of(place.room_id, speaker=ctx.sender), persona.look(place.agent)
        )
        now, name = datetime.now(ctx.timezone), self._turn.agent_name
        text = await persona.prompt(place.agent, company, now, limit, name=name, seen=seen)
        return Message("system", text)

    async def _see(self, messages: list[Message], model: NamedModel) -> None:
        """Show the newest pictures to a model that can see."""
        attachments: Attachments = self._means.services[Attachments]
        most = max(1, min(MOST_SEEN, model.context // 4096)) if model.vision else 0
        await attachments.show(self._incoming.place.agent, messages, most)

    async def _remember(self, budget: int) -> list[Hit]:
        """What the agent remembers of the human's message."""
        if not budget:
            return []
        incoming, memory = self._incoming, self._means.services[Recollection]
        place, sender = incoming.place, incoming.sender
        found: list[Hit] = await memory.before(place.agent, place.room_id, sender, incoming.text)
        return found

    def _feed(self, delta: Delta) -> None:
        self._say(delta.text)

    def _say(self, text: str) -> None:
        if text:
            piece = (self._joint if self.streamed else "") + text
            self._joint = ""
            self.streamed += piece
            self._stream.feed(piece)

    async def _hush(self) -> str:
        """Show no more, and hand over what was said: a question comes after it."""
        await self._stream.finish()
        said, self.streamed, self._texts = self.streamed, "", []
        return said

    async def _store(self, reply: Reply) -> int | None:
        """Store a message, with what is told of it; its id if it asks for calls."""
        pool, told = self._means.pool, self._told(reply)
        if told:
            place = replace(self._incoming.place, thread=self._aside)
            async with pool.acquire() as connection, connection.transaction():
                stored = await self._append(connection, reply)
                for text in told:
                    await outbox.say(
                        connection, self._item.lane, place, text, turn_id=self._turn.id
                    )
            self._means.chat.post(self._item.lane)
        else:
            stored = await self._append(pool, reply)
        return stored if reply.message.calls else None

    async def _append(self, db: Connection | Pool, reply: Reply) -> int:
        message = reply.message
        stored = await sessions.append(
            db,
            self._lease,
            self._turn.session_id,
            self._turn.id,
            (message, context.tokens(message)),
            model=self._turn.model if message.role == "assistant" else None,
            usage=reply.usage,
        )
        if stored is None:
            raise LostTurn(f"turn {self._turn.id} was ended meanwhile")
        return stored

    @property
    def _aside(self) -> str:
        """The thread for what is not the answer: that of the message, or one that begins at it."""
        return self._incoming.place.thread or self._incoming.event_id

    def _told(self, reply: Reply) -> list[str]:
        """What those are told who want to see reasoning and tool calls."""
        message = reply.message
        told: list[str] = []
        self._calls |= {call.id: call for call in message.calls}
        if self._turn.reasoning and message.reasoning:
            told.append(notices.thought(message.reasoning))
        call = self._calls.get(message.call_id or "")
        if self._turn.verbose and call:
            told.append(
                notices.called(call, message.text, failed=message.failed, seconds=reply.seconds)
            )
        return told

    def _done(self, last: Reply, reply_to: str | None, crowded: bool) -> Ending:
        text = "\n\n".join(t.strip() for t in self._texts if t.strip())
        if not text:
            raise ModelEmpty(EMPTY)
        words = [Outgoing(t, "notice", thread=self._aside) for t in self._told(last)]
        return Ending(
            "done",
            message=(last.message, context.tokens(last.message)),
            model=self._turn.model,
            usage=last.usage,
            words=[*words, Outgoing(text, "text", reply_to)],
            condense=crowded,
        )

    def _failed(self, why: str) -> Ending:
        why = redact(why)  # a provider may quote what it was sent
        log.warning("Turn %d failed: %s", self._turn.id, why)
        words = [Outgoing(self.streamed + BROKEN_OFF)] if self.streamed.strip() else []
        words.append(Outgoing(why, "notice", self._incoming.event_id))
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
