"""What a provider is: a way to ask language models, one class per file of this folder."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from memtrix_as.messages import Delta, Message, Reply, ToolSpec


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model; `timeout` is seconds for the whole answer."""

    model: str
    messages: Sequence[Message]
    tools: Sequence[ToolSpec] = ()
    think: bool = False
    temperature: float = 0.7
    max_tokens: int | None = None
    timeout: float = 600.0
    context: int = 8192  # tokens that the server is to give the model


class BaseProvider(ABC):
    """Subclass it in a file of the providers folder; the constructor's parameters are the
    keys of the provider's section in the configuration, `type` its name there."""

    type: ClassVar[str]
    bills: ClassVar[bool] = False  # it tells what a call cost

    @abstractmethod
    def stream(self, request: Request) -> AsyncIterator[Delta | Reply]:
        """Yield deltas as they come, then exactly one Reply.

        Raises a ModelError whose text can stand in a room as it is. What is worth repeating
        has been repeated before that.
        """

    @abstractmethod
    async def models(self) -> list[str]:
        """The names of the models that the provider offers; ModelError if it cannot say."""

    async def close(self) -> None:
        """Give back connections."""
        return None
