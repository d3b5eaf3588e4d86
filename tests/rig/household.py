"""Several agents on the bench: they ask each other, without a homeserver."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from memtrix_as.agent import errand, turn
from memtrix_as.agent.consult import Consults
from memtrix_as.agent.means import Account
from memtrix_as.config import Config
from memtrix_as.db import agents, consultations
from memtrix_as.db.agents import Agent
from memtrix_as.db.pool import Pool
from memtrix_as.messages import Message, Reply
from memtrix_as.tool import Tool, ToolContext, tool
from tests.rig.bench import MAIN, Bench, Model, lease

Says = Callable[[str, Sequence[Message]], Message]


class Minds(Model):
    """Answers for all agents: `says` is given the agent's key and what it reads."""

    def __init__(self, says: Says) -> None:
        super().__init__(())
        self._says = says
        self.read: list[tuple[str, Sequence[Message]]] = []

    def get(self, name: str, account: Account) -> Any:
        return _Mind(self, account.place.agent)

    def answer(self, agent: str, messages: Sequence[Message]) -> Message:
        self.read.append((agent, list(messages)))
        return self._says(agent, messages)


class _Mind(Model):
    def __init__(self, minds: Minds, agent: str) -> None:
        super().__init__(())
        self._minds, self._agent = minds, agent

    async def stream(self, messages: Any, tools: Any, *, timeout: float) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        yield Reply(self._minds.answer(self._agent, messages))


def first(messages: Sequence[Message]) -> bool:
    """Whether a turn begins: the model has done nothing yet."""
    return messages[-1].role == "user"


def asking(pool: Pool) -> Tool:
    """ask_agent, without the rest of what makes agents."""

    @tool(repeatable=True, harmless=True)
    async def ask_agent(ctx: ToolContext, name: str, message: str) -> str:
        """Ask another agent.

        Args:
            name: whom
            message: what
        """
        return await ctx.get(Consults).ask(ctx, lambda: agents.get(pool, name), message)

    return ask_agent


class Household(Bench):
    """The main agent and some others, whose questions to each other are answered."""

    def __init__(
        self,
        pool: Pool,
        folder: Path,
        says: Says,
        tools: Mapping[str, Tool] | None = None,
        settled: Config | None = None,
    ) -> None:
        self.minds = Minds(says)
        offered = {"ask_agent": asking(pool), **(tools or {})}
        super().__init__(pool, folder, self.minds, offered, settled)
        self.handlers = self.dispatcher._handlers
        self.handlers |= {  # type: ignore[operator]
            consultations.KIND: partial(turn.consult, self.means),
            errand.KIND: partial(turn.run_errand, self.means),
        }

    async def move_in(self, *names: str) -> None:
        main = Agent("memtrix", MAIN, "Memtrix", True, "m", False, False)
        await agents.keep_main(self.pool, main)
        async with self.pool.acquire() as db:
            for name in names:
                user = f"@memtrix_{name}:hs.test"
                await agents.add(db, Agent(name, user, name.title(), False, "m", False, False))
        await self.open()

    async def work_at_once(self) -> None:
        """Drain all lanes that wait, side by side, until none does."""

        async def one(lane: str, held: Any) -> None:
            await self.dispatcher.drain(lane, held)
            await self.pool.execute("delete from procrastinate_jobs where id = $1", held.job_id)

        going: set[asyncio.Task[None]] = set()
        while True:
            while found := await lease(self.pool):
                going.add(asyncio.create_task(one(*found)))
            if not going:
                return
            done, going = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
