"""A tool's own questions, in the middle of a call: asked in the room, and waited for.

Here the turn is not parked. To go on later the call would have to run again from its beginning,
and whatever it had done before it asked would be done twice. So its task waits, and a restart cuts
the call like any other; only a tool that is declared repeatable runs again, and finds its answers.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from memtrix_as.agent.gate import Gate
from memtrix_as.db import approvals, inquiries
from memtrix_as.db.approvals import State
from memtrix_as.db.bell import Bell
from memtrix_as.db.pool import DOWN, reachable
from memtrix_as.tool import ToolContext

log = logging.getLogger(__name__)

MOST = 8  # questions of one call; what it asks beyond is a no
LOOK = 5.0  # seconds until the answer is looked for though no bell rang


class Patience:
    """A deadline that stands still while a human is asked, however many questions are open."""

    def __init__(self, deadline: asyncio.Timeout) -> None:
        self._deadline = deadline
        self._open, self._left = 0, 0.0

    def __enter__(self) -> None:
        if not self._open and (when := self._deadline.when()) is not None:
            self._left = when - asyncio.get_running_loop().time()
            self._deadline.reschedule(None)
        self._open += 1

    def __exit__(self, *_: object) -> None:
        self._open -= 1
        if not self._open:
            with suppress(RuntimeError):  # the turn has ended meanwhile, and its deadline with it
                self._deadline.reschedule(asyncio.get_running_loop().time() + self._left)


@dataclass
class Inquiry:
    """What `tool.Human` asks for, in one run of a turn.

    `resume` begins to show again that somebody works, which a question ends.
    """

    gate: Gate
    patience: Patience
    answers: Bell
    resume: Callable[[], None]
    _asked: dict[str, int] = field(default_factory=dict)  # questions by call

    async def agrees(self, ctx: ToolContext, question: str) -> bool:
        ordinal = self._asked[ctx.call_id] = self._asked.get(ctx.call_id, 0) + 1
        pool = self.gate.pool
        if ordinal > MOST or ctx.depth or not await approvals.is_human(pool, ctx.sender):
            return False
        with self.patience:
            message_id = self.gate.message_id
            if not await self.gate.inquire(ctx.call_id, ordinal, question):
                return False
            state = await self._answer(message_id, ctx.call_id, ordinal)
        self.resume()
        return state == "approved"

    async def _answer(self, message_id: int, call_id: str, ordinal: int) -> State:
        """How the question ended, once it has; Expiry sees to it that it does."""
        pool, lease = self.gate.pool, self.gate.lease
        with self.answers.heard() as rung:
            while True:
                rung.clear()
                try:
                    state = await inquiries.still(pool, lease, message_id, call_id, ordinal)
                except DOWN as exc:
                    log.warning("The database is away while a tool waits for an answer: %s", exc)
                    await reachable(pool)
                    continue
                if state != "open":
                    return state
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK):
                        await rung.wait()
