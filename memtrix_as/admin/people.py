"""A stand-in for `agent.people`, with its face, until that is merged: it makes nobody."""

from dataclasses import dataclass

from memtrix_as.admin.words import either, similar
from memtrix_as.db import agents
from memtrix_as.db.agents import Agent
from memtrix_as.db.pool import Pool
from memtrix_as.errors import ToolError
from memtrix_as.messages import Place


class PeopleError(ToolError):
    """An agent cannot be made, found, renamed or removed as asked."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much belongs to an agent."""

    rooms: int = 0
    sessions: int = 0
    messages: int = 0
    journal_days: int = 0
    passages: int = 0
    files: int = 0
    bytes: int = 0


class People:
    """The agents."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def all(self) -> list[Agent]:
        return await agents.load(self._pool)

    async def archived(self) -> list[Agent]:
        return await agents.load(self._pool, "archived")

    async def find(self, name: str) -> Agent:
        everyone = await self.all()
        for agent in everyone:
            if name.casefold() in {agent.name, agent.display_name.casefold(), agent.user_id}:
                return agent
        close = similar(name, [agent.display_name for agent in everyone])
        hint = f" Did you mean {either(close)}?" if close else ""
        raise PeopleError(f"There is no agent of that name.{hint}")

    async def check_name(self, name: str, but: str | None = None) -> str:
        return name

    async def create(
        self, name: str, expertise: str, *, model: str | None = None, by: str
    ) -> Agent:
        raise PeopleError("This version makes no agents.")

    async def rename(self, agent: Agent, name: str) -> Agent:
        raise PeopleError("This version renames no agents.")

    async def use(self, agent: Agent, model: str) -> None:
        await agents.use(self._pool, agent.name, model)

    async def remove(self, agent: Agent, *, purge: bool) -> str:
        raise PeopleError("This version removes no agents.")

    async def restore(self, agent: Agent) -> Agent:
        raise PeopleError("This version restores no agents.")

    async def extent(self, agent: Agent) -> Extent:
        return Extent()

    async def ask(
        self, agent: Agent, question: str, *, by: str, place: Place, event_id: str
    ) -> None:
        raise PeopleError("This version asks no agents.")
