"""What a tool is, the two ways to write one, and what a turn may do in its room."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import partial
from typing import Any, Protocol, TypeVar, get_type_hints

from docstring_parser import parse
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from memtrix_as.errors import ToolError
from memtrix_as.messages import Message, OutgoingFile, Place, ToolSpec

T = TypeVar("T")


class Stream(Protocol):
    """An answer on its way into a room: shows that somebody works, then the text so far."""

    def feed(self, text: str) -> None:
        """Add a piece of text; returns at once."""

    async def finish(self) -> None:
        """Stop showing; the last words come through the outbox. May be called again."""


class Chat(Protocol):
    """A channel in which agents and humans talk; `matrix/` is one, the terminal another."""

    def stream(self, turn_id: int, place: Place, event_id: str, reply_to: str | None) -> Stream:
        """Begin to show that `place.agent` works on the message `event_id`."""

    async def quote(self, place: Place, event_id: str) -> str | None:
        """The text of an event of the room that we did not keep ourselves."""

    def download(self, place: Place, source: str) -> AsyncGenerator[bytes, None]:
        """A file that came with a message, piece by piece; AttachmentError if it cannot be had."""

    def post(self, lane: str) -> None:
        """Begin to deliver, without waiting for it."""

    async def deliver(self, lane: str) -> None:
        """Send what waits in the outbox of `lane`, in order; what comes meanwhile is for later."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a call may know about the turn that it runs in."""

    place: Place
    sender: str
    event_id: str
    timezone: tzinfo
    session_id: int = 0
    turn_id: int = 0
    services: Mapping[type, Any] = field(default_factory=dict)
    history: Sequence[Message] = ()  # what stands before the model; it grows while the turn runs
    call_id: str = ""  # of the call that runs
    agreed: str | None = None  # what `confirm_if` asked about this call, after a human's yes to it
    depth: int = 0  # how many agents have asked on, until it came to this one

    def get(self, kind: type[T]) -> T:
        """The service of this kind, such as the agent's journals; ToolError if there is none."""
        if kind not in self.services:
            raise ToolError(f"{kind.__name__} is not there in this turn.")
        service: T = self.services[kind]
        return service


class Outside(str):
    """A result with text from outside in it, of a tool that is not declared `untrusted`.

    It marks the turn, and must be marked as data by the tool itself.
    """


class Channel(Protocol):
    """What tools may put into the room of their turn; a service, where a channel can show it.

    Whatever is asked for twice in a turn is there once. ToolError says why something cannot be.
    """

    async def react(self, ctx: ToolContext, emoji: str) -> None:
        """Put one emoji on the message that the turn answers."""

    async def offer_room(self, ctx: ToolContext, agent: str, called: str) -> bool:
        """Ask the human whether to open a room with this agent; False where that cannot be."""

    async def largest(self, ctx: ToolContext) -> int:
        """How many bytes a file may have here."""

    async def send_file(self, ctx: ToolContext, file: OutgoingFile, caption: str = "") -> None:
        """Send a file, after what was sent before and before what is said after."""


class Human(Protocol):
    """The human whose message led to the turn; a service, where a turn can ask somebody."""

    async def agrees(self, ctx: ToolContext, question: str) -> bool:
        """Ask in the room, in the middle of a call, and wait. Only a human's yes is True."""


ConfirmIf = Callable[[ToolContext, Mapping[str, Any]], Awaitable[str | None]]
"""Looks at a call before it runs: the question to ask the human first, or None for no need.

It gets the arguments as the function will. After a yes it looks again: the call does not run when
it would now say something else. What was agreed stands in the context of the call: a function that
finds something that it was not asked about refuses.
"""


@dataclass(frozen=True, slots=True)
class Leave:
    """A call may run; `agreed` is what its `confirm_if` asked, if a human has said yes to that."""

    agreed: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """Something to run with its policy. The policy is enforced by `agent.gate` alone.

    `check` gives the arguments as `run` takes them by name; ToolError if they do not fit.
    """

    spec: ToolSpec
    check: Callable[[Mapping[str, Any]], dict[str, Any]]
    run: Callable[..., Awaitable[str]]
    wants_context: bool
    confirm: bool = False  # ask the human first
    untrusted: bool = False  # the result comes from outside
    alone: bool = False  # never run beside another call
    repeatable: bool = False  # may run again when a crash hid its outcome
    harmless: bool = False  # never asked for merely because text from outside was read
    main: bool = False  # for the main agent alone
    confirm_if: ConfirmIf | None = None  # ask the human what this returns, if it is a question
    effect: Callable[[Mapping[str, Any]], str] | None = None  # of the arguments, in a sentence
    each: bool = False  # a yes is for one call: there is no "always"

    @property
    def name(self) -> str:
        return self.spec.name

    async def __call__(self, ctx: ToolContext, arguments: Mapping[str, Any]) -> str:
        """Validate and run; ToolError says what is wrong with the arguments."""
        values = self.validated(arguments)
        try:
            return await (self.run(ctx, **values) if self.wants_context else self.run(**values))
        except SystemExit as exc:  # it would end the service
            raise RuntimeError(f"{self.name} called sys.exit()") from exc

    def validated(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as they are run with; ToolError says what is wrong with them."""
        return self.check(arguments)


def tool(
    *,
    confirm: bool = False,
    untrusted: bool = False,
    alone: bool = False,
    repeatable: bool = False,
    harmless: bool = False,
    main: bool = False,
    confirm_if: ConfirmIf | None = None,
    effect: Callable[[Mapping[str, Any]], str] | None = None,
    each: bool = False,
) -> Callable[[Callable[..., Awaitable[str]]], Tool]:
    """Make a Tool of an async function: its name, hints and docstring become the schema.

    `harmless` tools neither send anything outward nor change what the agent remembers or is like;
    all others are asked for once text from outside stands before the model.
    Raises TypeError at import time when the function says too little for a model to use it.
    """

    def declare(function: Callable[..., Awaitable[str]]) -> Tool:
        doc, hints = parse(function.__doc__ or ""), get_type_hints(function, include_extras=True)
        about = {p.arg_name: p.description for p in doc.params}
        parameters = list(inspect.signature(function).parameters.values())
        wants_context = bool(parameters) and hints.get(parameters[0].name) is ToolContext
        fields: dict[str, Any] = {}
        for p in parameters[wants_context:]:
            if p.name not in hints or p.name not in about:
                raise TypeError(f"{function.__name__}: {p.name!r} needs a type and an Args: line")
            default = ... if p.default is p.empty else p.default
            fields[p.name] = (hints[p.name], Field(default, description=about[p.name]))
        if not doc.short_description:
            raise TypeError(f"tool {function.__name__} needs a docstring")
        text = "\n\n".join(filter(None, (doc.short_description, doc.long_description)))
        arguments = create_model(function.__name__, __config__=ConfigDict(extra="forbid"), **fields)
        schema = arguments.model_json_schema()
        schema.pop("title", None)
        spec = ToolSpec(function.__name__, text, schema)
        return Tool(
            spec, partial(_fitting, arguments), function, wants_context, confirm, untrusted, alone,
            repeatable, harmless, main, confirm_if, effect, each,
        )  # fmt: skip

    return declare


def _fitting(model: type[BaseModel], arguments: Mapping[str, Any]) -> dict[str, Any]:
    try:
        values = model.model_validate(dict(arguments))
    except ValidationError as exc:
        wrong = [f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in exc.errors()]
        raise misfit(model.__name__, wrong) from exc
    return {name: getattr(values, name) for name in model.model_fields}


def misfit(tool: str, wrong: Sequence[str]) -> ToolError:
    """What a model is told whose arguments do not fit."""
    return ToolError(f"{tool} was not run, its arguments are wrong: {'; '.join(wrong)}")


class BaseTool(ABC):
    """The other way to write a tool: a class in a file of a tools folder.

    `parameters` is a JSON Schema of an object. The constructor gets what it names of the things
    that `tools.base.About` tells; each agent has an instance of its own. The policy stands in
    class attributes, with the meaning that they have for `tool`.
    """

    confirm: bool = False
    untrusted: bool = False
    alone: bool = False
    repeatable: bool = False
    harmless: bool = False

    def __init__(
        self, name: str, description: str, parameters: Mapping[str, Any] | None = None
    ) -> None:
        self.name = name
        self.description = description
        self.parameters = parameters or {}

    @abstractmethod
    def execute(self, **kwargs: Any) -> Any:
        """Do it, in a plain function or an async one, and return what the model is to read."""
