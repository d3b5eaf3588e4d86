"""What every turn works with."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from memtrix_as.config import Config
from memtrix_as.db.bell import Bell
from memtrix_as.db.pool import Pool
from memtrix_as.messages import Colleague, Delta, Incoming, Message, Reply, ToolSpec
from memtrix_as.tool import Chat, Tool


class NamedModel(Protocol):
    """A configured model; `context` is how many tokens the server really gives it."""

    @property
    def context(self) -> int: ...

    @property
    def tools(self) -> bool: ...

    @property
    def vision(self) -> bool: ...

    def stream(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], *, timeout: float
    ) -> AsyncIterator[Delta | Reply]: ...


class Models(Protocol):
    """The configured models by name; ConfigError for one that is not there."""

    def get(self, name: str) -> NamedModel: ...


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
    answers: Bell = field(default_factory=Bell)  # rung when a human has answered a running call
