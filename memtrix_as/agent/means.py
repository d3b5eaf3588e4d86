"""What every turn works with."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from memtrix_as.config import Config
from memtrix_as.db.bell import Bell
from memtrix_as.db.pool import Pool
from memtrix_as.db.usage import Purpose
from memtrix_as.measures import Measures
from memtrix_as.messages import Colleague, Delta, Incoming, Message, Place, Reply, ToolSpec
from memtrix_as.tool import Chat, Tool


class NamedModel(Protocol):
    """A configured model; `context` is how many tokens the server really gives it."""

    @property
    def context(self) -> int: ...

    @property
    def tools(self) -> bool: ...

    @property
    def vision(self) -> bool: ...

    @property
    def scarce(self) -> bool:
        """Whether those who ask it at the same time have to wait for each other."""

    def stream(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, timeout: float
    ) -> AsyncIterator[Delta | Reply]: ...


@dataclass(frozen=True, slots=True)
class Account:
    """Whose model call it is, and what it is for."""

    place: Place  # the agent that it counts for, and the room that it is made for, if there is one
    name: str  # the agent's display name
    purpose: Purpose
    lane: str = ""  # where the room is told that money gets short; empty: nowhere
    turn_id: int | None = None
    since: float | None = None  # time.monotonic() when the turn's work began


class Models(Protocol):
    """The configured models by name, counted for an account; ConfigError for one not there.

    `stream` raises BudgetSpent in place of asking when nothing may be spent any more.
    """

    def get(self, name: str, account: Account) -> NamedModel: ...

    async def settle(self, patience: float) -> None:
        """Wait until what ended calls took is noted, but not longer than this."""


@dataclass(frozen=True)
class Means:
    """What every turn works with."""

    pool: Pool
    chat: Chat
    models: Models
    tools: Mapping[str, Tool]
    config: Config
    read: Callable[[Mapping[str, Any], str], Incoming]  # raw event, agent's name
    services: Mapping[type, Any] = field(default_factory=dict)  # what tools may ask for, by type
    colleagues: Callable[[], Sequence[Colleague]] = tuple  # what agents know of each other
    measures: Measures = field(default_factory=Measures)
    answers: Bell = field(default_factory=Bell)  # rung when a human has answered a running call
    stirred: Bell = field(default_factory=Bell)  # rung when work is put in line, or a lane is done
