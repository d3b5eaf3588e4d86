"""The gate before each call: it runs, it is refused, or a human is asked first."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from memtrix_as.agent import context, questions, taint
from memtrix_as.config import Config, redact, role
from memtrix_as.db import approvals, inquiries, permissions, turns
from memtrix_as.db.approvals import Approval, Asking
from memtrix_as.db.inbox import Item
from memtrix_as.db.pool import Pool
from memtrix_as.db.queue import Lease
from memtrix_as.errors import Unanswered
from memtrix_as.messages import ToolCall
from memtrix_as.tool import Leave, Tool, ToolContext

NOBODY = "{tool} was not run: it needs a human's yes, and no human takes part in this turn."
REFUSED = {
    "denied": "{tool} was not run: the human said no. Do not try it again unless you are told to.",
    "expired": "{tool} was not run: it needs a human's yes, and nobody answered in time.",
    "withdrawn": "{tool} was not run: the question about it was withdrawn.",
}
TOO_MANY = (
    "{tool} was not run: a human is asked about {most} calls at once at most. Ask for the rest "
    "when these are answered."
)
MOST_ASKED = 8  # calls of one message that a human is asked about
CHANGED = "{tool} was not run: it is not the call that the human was asked about."
STALE = (
    "{tool} was not run: what it would do has changed since the human was asked. If it is still "
    "wanted, call it again: then they are asked anew."
)


@dataclass
class Gate:
    """Decides about the calls of one run of a turn.

    `hush` stops the answer that is being shown and gives what it said; `post` has what is in the
    outbox delivered.
    """

    pool: Pool
    config: Config
    item: Item
    lease: Lease
    agent: str  # as it is called in the room
    ctx: ToolContext
    reply_to: str | None
    hush: Callable[[], Awaitable[str]]
    post: Callable[[str], None]
    message_id: int = 0  # the stored message whose calls are being run
    _resumed: int = 0  # the message whose calls an earlier run may have asked about
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)  # in the order of the calls

    def __post_init__(self) -> None:
        self._resumed = self.message_id

    async def __call__(self, call: ToolCall, tool: Tool) -> str | Leave:
        """It may run now, or the model is told a text; Unanswered: a human is asked."""
        # What was asked is answered first, even if the tool, changed meanwhile, asks no more.
        resumed = self.message_id == self._resumed
        guarded = tool.confirm or tool.confirm_if is not None or not tool.harmless
        decided = await self._decided(call, tool) if guarded or resumed else Leave()
        if isinstance(decided, str) or tool.repeatable:
            return decided
        if await turns.start_call(self.pool, self.lease, self.message_id, call.id):
            return decided
        await inquiries.cut(self.pool, self.item.id, call.id)  # nobody waits for the answer
        self.post(self.item.lane)
        return context.INTERRUPTED

    async def inquire(self, call_id: str, ordinal: int, text: str) -> bool:
        """Put a running call's own question to the human, unless it was put before a crash.

        False if it was another question then: its answer would be one to something else.
        """
        async with self._asking:
            calls = (c for m in reversed(self.ctx.history) for c in m.calls)
            call = next(c for c in calls if c.id == call_id)
            outside = taint.sources(self.ctx.history)
            told = [text, taint.warning(outside)] if outside else [text]
            known = await approvals.of_call(self.pool, self.message_id, call.id, ordinal)
            if known is None:
                await self._ask(call, told, wary=bool(outside), ordinal=ordinal, each=True)
            return known is None or known.question == self._question(call, told, ordinal)

    async def _decided(self, call: ToolCall, tool: Tool) -> str | Leave:
        async with self._asking:
            known = await approvals.of_call(self.pool, self.message_id, call.id)
            if known is not None:
                return _as_answered(known, call) or await self._as_agreed(known, call, tool)
            if await turns.started(self.pool, self.message_id, call.id):
                return Leave()  # what it would be asked about may be its own doing
            outside = taint.sources(self.ctx.history)
            wary = bool(outside) and not tool.harmless
            if not tool.confirm and tool.confirm_if is None and not wary:
                return Leave()
            values = tool.validated(call.arguments)  # nobody is asked about what cannot run
            asks = await tool.confirm_if(self.ctx, values) if tool.confirm_if else None
            if not (tool.confirm or asks or wary):
                return Leave()
            # First: a human's "always" is for what humans ask for.
            if not await approvals.is_human(self.pool, self.ctx.sender):
                return NOBODY.format(tool=tool.name)
            if await self._permitted(tool, wary=bool(outside)):
                return Leave(asks)
            if await approvals.asked(self.pool, self.message_id) >= MOST_ASKED:
                return TOO_MANY.format(tool=tool.name, most=MOST_ASKED)
            effect = tool.effect(values) if tool.effect else None
            warning = taint.warning(outside) if outside else None
            told = [text for text in (effect, asks, warning) if text]
            await self._ask(call, told, wary=bool(outside), each=tool.each)
        raise Unanswered(f"{tool.name} waits for a yes")

    async def _as_agreed(self, known: Approval, call: ToolCall, tool: Tool) -> str | Leave:
        """Leave for an approved call, unless it would do by now what its human was not told.

        A question waits for minutes, and what it is about does not: a folder may have been filled.
        """
        if not tool.confirm_if or await turns.started(self.pool, self.message_id, call.id):
            return Leave()
        asks = await tool.confirm_if(self.ctx, tool.validated(call.arguments))
        if asks is not None and not questions.says(known.question, asks):
            return STALE.format(tool=call.name)
        return Leave(asks)

    async def _permitted(self, tool: Tool, *, wary: bool) -> bool:
        """Whether somebody who may still talk to us said "always" here."""
        if tool.each:
            return False
        place = self.ctx.place
        by = await permissions.given(self.pool, place.agent, place.room_id, tool.name, wary=wary)
        return by is not None and role(self.config.permissions, by) != "none"

    def _question(self, call: ToolCall, told: list[str], ordinal: int) -> str:
        agent, inside = self.agent, ordinal > 0
        return redact(questions.question(agent, call.name, call.arguments, told, inside=inside))

    async def _ask(
        self, call: ToolCall, told: list[str], *, wary: bool, each: bool, ordinal: int = 0
    ) -> None:
        words = await self.hush()
        expires = await approvals.deadline(self.pool, self.config.limits.approval_timeout)
        until = questions.clock(expires, self.config.timezone)
        asked = self.ctx.sender if self.item.humans > 1 else None
        asking = Asking(
            message_id=self.message_id,
            call=call,
            asked=self.ctx.sender,
            question=self._question(call, told, ordinal),
            how=questions.how(call.name, until, asked, each=each),
            expires_at=expires,
            words=words,
            reply_to=self.reply_to,
            wary=wary,
            ordinal=ordinal,
        )
        await approvals.ask(self.pool, self.item, self.lease, self.ctx.place, asking)
        self.post(self.item.lane)


def _as_answered(known: Approval, call: ToolCall) -> str | None:
    if known.state == "open":
        raise Unanswered(f"{call.name} waits for a yes")
    if known.tool != call.name or known.arguments != dict(call.arguments):
        return CHANGED.format(tool=call.name)
    refused = REFUSED.get(known.state)
    return refused.format(tool=call.name) if refused else None
