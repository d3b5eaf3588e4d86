"""What a scripted model is told to say: replies, queued by verbs that read like a chat."""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from memtrix_as.memory.recall import END


@dataclass(frozen=True)
class Request:
    """What a client asked: `body` as it was sent, `arrived_at` on the monotonic clock."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]
    arrived_at: float = field(default_factory=time.monotonic)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.body.get("messages") or [])

    @property
    def tools(self) -> list[dict[str, Any]]:
        return list(self.body.get("tools") or [])

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def last_user(self) -> str:
        """The human's last words, empty if there are none; without what is remembered of them."""
        said = [m.get("content") or "" for m in self.messages if m.get("role") == "user"]
        return _words(said[-1]).rpartition(END)[2] if said else ""

    @property
    def images(self) -> list[str]:
        """The images that the model is shown, as data URLs, in order."""
        parts = [p for m in self.messages if isinstance(m.get("content"), list)
                 for p in m["content"]]  # fmt: skip
        return [p["image_url"]["url"] for p in parts if p.get("type") == "image_url"]


@dataclass(frozen=True)
class Reply:
    """One answer of the model; times in seconds."""

    pieces: Sequence[str] = ()
    reasoning: str = ""
    calls: Sequence[tuple[str, str]] = ()  # names, and arguments as they go over the wire
    finish: str = "stop"
    after: float = 0.0  # before the first piece
    delay: float = 0.0  # between two pieces
    hold: bool = False  # all but the end is sent, until release()
    hang: bool = False  # nothing at all is sent, until release()
    status: int = 200
    body: Any = None  # of a failure
    retry_after: float | None = None
    cut: str = ""  # how the connection ends early: "reset", or "clean" as if all were sent
    raw: Sequence[str] | None = None  # lines to send in place of all that
    usage: Mapping[str, Any] | None = None  # the figures; None: counted, empty: none are sent

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def _words(content: Any) -> str:
    """What a message says beside its images."""
    if isinstance(content, list):
        return "\n".join(str(part["text"]) for part in content if part.get("type") == "text")
    return str(content)


Default = Callable[[Request], Reply | str]


class Script:
    """Replies waiting for the requests that `fits` accepts."""

    def __init__(self, fits: Callable[[Request], bool] = lambda request: True) -> None:
        self.fits = fits
        self.default: Default | None = None  # answers when nothing is queued
        self.queue: deque[Reply] = deque()

    def says(
        self,
        *texts: str | Sequence[str],
        chunks: int = 1,
        reasoning: str = "",
        after: float = 0.0,
        delay: float = 0.0,
        hold: bool = False,
        finish: str = "stop",
        usage: Mapping[str, Any] | None = None,
    ) -> Self:
        """Queue a reply for each text: a list is sent piece by piece, a string in `chunks`.

        `usage` is told as it stands, such as {"prompt_tokens": 9, "cost": 0.01}; {} tells none.
        """
        for text in texts:
            pieces = _cut(text, chunks) if isinstance(text, str) else list(text)
            reply = Reply(pieces, reasoning, (), finish, after, delay, hold, usage=usage)
            self.queue.append(reply)
        return self

    def calls(
        self,
        *calls: str | Mapping[str, Any],
        text: str = "",
        reasoning: str = "",
        arguments: str | None = None,
        finish: str = "tool_calls",
        hold: bool = False,
        usage: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> Self:
        """Queue one message with calls: names, each followed by its arguments if it has any.

        Keyword arguments are those of the last call; `arguments` is sent for it as it is.
        """
        made: list[tuple[str, str]] = []
        for item in calls:
            if isinstance(item, str):
                made.append((item, "{}"))
            else:
                made[-1] = (made[-1][0], json.dumps(item))
        if named:
            made[-1] = (made[-1][0], json.dumps(named))
        if arguments is not None:
            made[-1] = (made[-1][0], arguments)
        pieces = [text] if text else []
        self.queue.append(Reply(pieces, reasoning, made, finish, hold=hold, usage=usage))
        return self

    def fails(
        self, status: int, body: Any = None, retry_after: float | None = None, times: int = 1
    ) -> Self:
        """Queue an HTTP error; a dict is sent as JSON, a string as the error's message."""
        reply = Reply(status=status, body=body, retry_after=retry_after)
        self.queue.extend([reply] * times)
        return self

    def hangs(self) -> Self:
        """Queue a reply that does not come before release(), and then is empty."""
        self.queue.append(Reply(hang=True))
        return self

    def breaks(self, after: str | Sequence[str] = "", clean: bool = False) -> Self:
        """Queue a stream that is cut; `clean` ends it without an error of the connection."""
        pieces = [after] if isinstance(after, str) else list(after)
        self.queue.append(Reply([p for p in pieces if p], cut="clean" if clean else "reset"))
        return self

    def says_nothing(self, finish: str = "stop", usage: Mapping[str, Any] | None = None) -> Self:
        """Queue an answer without text and without calls."""
        self.queue.append(Reply(finish=finish, usage=usage))
        return self

    def sends_raw(self, lines: Sequence[str]) -> Self:
        """Queue a stream of exactly these lines; `data: ` and the empty lines are yours to add."""
        self.queue.append(Reply(raw=list(lines)))
        return self

    def by_default(self, text: str) -> Self:
        """Answer with this text whenever nothing is queued."""
        self.default = lambda request: text
        return self

    def reply(self, request: Request) -> Reply | None:
        """The reply to this request, taken from the queue; None if there is none."""
        if not self.fits(request):
            return None
        if self.queue:
            return self.queue.popleft()
        if self.default is None:
            return None
        said = self.default(request)
        return Reply([said]) if isinstance(said, str) else said


def _cut(text: str, count: int) -> list[str]:
    size = max(1, -(-len(text) // count))
    return [text[at : at + size] for at in range(0, len(text), size)]
