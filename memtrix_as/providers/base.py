"""What a provider is: a way to ask language models, one class per file of a providers folder."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from memtrix_as.errors import ModelError
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


class BaseProvider:
    """Write either `stream` or `completions`; see docs/providers.md.

    The constructor's parameters are the keys of the provider's section in the configuration. Its
    `type` there is that of the class; where there is none, the `name` that the constructor hands
    on to this one; else the name of the file.
    """

    type: ClassVar[str]
    bills: ClassVar[bool] = False  # it tells what a call cost
    name: str = ""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def stream(self, request: Request) -> AsyncIterator[Delta | Reply]:
        """Yield deltas as they come, then exactly one Reply.

        Raises a ModelError whose text can stand in a room as it is. What is worth repeating
        has been repeated before that.
        """
        raise NotImplementedError

    def completions(
        self, model: str, history: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None
    ) -> Any:
        """Answer in one piece, in a plain function, which may block, or an async one.

        `history` and `tools` are in the format of OpenAI's chat completions, and so is the message
        that is returned: an object, a dictionary, or text alone.
        """
        raise NotImplementedError

    async def models(self) -> list[str]:
        """The names of the models that the provider offers; ModelError if it cannot say."""
        raise ModelError("This provider does not tell which models it has.")

    async def longest(self, model: str) -> int | None:
        """The tokens that a model can see at once, None where the provider does not tell."""
        return None

    async def close(self) -> None:
        """Give back connections."""
        return None
