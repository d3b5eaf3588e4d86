"""The values that flow between the parts: frozen, without I/O."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call the model asked for.

    `problem` says why the arguments could not be read; `arguments` is then empty, because
    some servers refuse a history whose arguments do not parse.
    """

    id: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a session, as the model sees it."""

    role: Role
    text: str = ""
    reasoning: str = ""  # role "assistant": what the model thought, never sent back as text
    calls: tuple[ToolCall, ...] = ()  # role "assistant"
    call_id: str | None = None  # role "tool": the call that this answers
    failed: bool = False  # role "tool": the tool did not do what was asked
    outside: str = ""  # where the text is from, if somebody outside wrote it
    images: tuple["Image", ...] = ()  # role "user": what it shows
    human: bool = True  # role "user": a human's words, and no agent's


@dataclass(frozen=True, slots=True)
class Image:
    """An image that came with a message; `data` only while a model is being asked."""

    path: str  # below the agent's workspace
    data: bytes = field(default=b"", repr=False)
    mimetype: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one model call; `cost` in US dollars where the provider tells it."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None

    def __add__(self, other: "Usage") -> "Usage":
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            sum(costs) if costs else None,
        )


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer on its way; either field may be empty."""

    text: str = ""
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished message, and what it cost in tokens or time: of the model, or a tool's result."""

    message: Message
    usage: Usage = Usage()
    seconds: float | None = None  # that a call took whose result this is


def as_json(value: Any) -> str:
    """JSON without spaces, as it goes over a wire; ValueError for what is none."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class ToolSpec:
    """What a model is told of a tool; `parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: Mapping[str, Any]

    @cached_property
    def length(self) -> int:
        """Characters, about; every turn asks."""
        return len(str(self))

    @cached_property
    def written(self) -> str:
        """It as JSON, which every question to a model repeats."""
        told = {"name": self.name, "description": self.description}
        return as_json({**told, "parameters": dict(self.parameters)})


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that came with a message; `source` is where it can be fetched (an mxc URI)."""

    name: str
    mimetype: str
    size: int | None
    source: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that came with a message, as it was kept; `why` it was not, where `path` is empty."""

    name: str
    mimetype: str
    size: int  # bytes
    path: str = ""  # below the agent's workspace
    why: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """An image as clients show it before they have it; sizes are width and height in pixels.

    `thumbnail` is a small copy, empty where the image is small itself.
    """

    size: tuple[int, int]
    thumbnail: bytes = field(default=b"", repr=False)
    thumbnail_type: str = ""
    thumbnail_size: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """A file for a room; `digest` names its bytes, `pieces` reads them from the beginning."""

    name: str
    mimetype: str
    size: int
    digest: str
    pieces: Callable[[], AsyncGenerator[bytes, None]] = field(repr=False)
    preview: Preview | None = None  # of what is to be shown as an image


# What is no room of the homeserver has an id that begins with one of these.
AMONG_AGENTS = "~"  # agents ask each other
AT_TERMINAL = ">"  # somebody sits at a terminal
BROKEN_OFF = "\n\n*(broken off)*"  # below what there was of an answer that did not end


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message belongs: the room, the agent that speaks there, and the thread."""

    room_id: str
    agent: str  # the agent's name in the agents table, e.g. "memtrix"
    thread: str | None = None  # event id of the thread's root

    @property
    def among_agents(self) -> bool:
        """Whether one agent asks another here: no human reads along or can be asked."""
        return self.room_id.startswith(AMONG_AGENTS)


@dataclass(frozen=True, slots=True)
class Colleague:
    """What agents know of each other."""

    name: str  # key in the agents table
    display_name: str
    expertise: str


@dataclass(frozen=True, slots=True)
class Incoming:
    """A human's (or another agent's) message, read from the chat protocol."""

    event_id: str
    place: Place
    sender: str
    text: str
    sent_at: datetime
    reply_to: str | None = None
    attachments: tuple[Attachment, ...] = ()
    command: tuple[str, str] | None = None  # its name and argument, when it is one
    meant: str = ""  # the command that its name is a slip of, where there is none of that name
    target: str | None = None  # the event that it edits or withdraws, when it does
