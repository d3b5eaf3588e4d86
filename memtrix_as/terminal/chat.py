"""The terminal side of a turn: shows what the outbox holds, and an answer as it grows."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from memtrix_as.agent import questions
from memtrix_as.db import inbox, outbox, terminal
from memtrix_as.db.outbox import Row
from memtrix_as.db.pool import DOWN, Pool
from memtrix_as.messages import AT_TERMINAL, Place
from memtrix_as.terminal import enclosing

# C0 but for tab and newline, DEL, C1; and what turns the direction of writing.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

Kind = Literal["answer", "notice", "aside", "question", "outcome", "file", "reaction"]


@dataclass(frozen=True, slots=True)
class Shown:
    """Something to show; `number` is what a question can be answered by."""

    kind: Kind
    agent: str  # as it is called
    text: str  # Markdown
    number: int = 0


class Screen(Protocol):
    """What stands before the human."""

    async def show(self, shown: Shown) -> None:
        """Put something there for good; returns when it is there."""

    def grow(self, agent: str, text: str | None) -> None:
        """What an agent has said so far, empty while it only works; None: nobody works now."""

    def leave(self) -> None:
        """The agent has said goodbye."""


class TerminalChat:
    """What `tool.Chat` asks for, before a screen."""

    def __init__(self, pool: Pool, screen: Screen, called: Callable[[str], str]) -> None:
        self._pool = pool
        self._screen = screen
        self._called = called  # what an agent is called
        self.delivering = asyncio.Lock()  # held from the screen to the note that it stands there
        self._tasks: set[asyncio.Task[None]] = set()
        self.happened = asyncio.Event()  # set after each delivery, for whoever clears it

    def stream(self, turn_id: int, place: Place, event_id: str, reply_to: str | None) -> "Stream":
        return Stream(self, self._pool, self._screen, self._called(place.agent), turn_id, place)

    async def quote(self, place: Place, event_id: str) -> str | None:
        return None  # nothing is said here that we did not keep

    async def download(self, place: Place, source: str) -> AsyncGenerator[bytes, None]:
        async with aclosing(enclosing.pieces(source)) as read:
            async for piece in read:
                yield piece

    def post(self, lane: str) -> None:
        self.soon(self.deliver(lane))

    def soon(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for, and that may fail."""

        async def run() -> None:
            with suppress(*DOWN):
                await work

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def deliver(self, lane: str) -> None:
        """Show what waits in the lane, in order; noted as sent when it is on the screen."""
        async with self.delivering:
            due = await outbox.waiting(self._pool, lane)
            whole = {row.draft for row in due if row.kind == "text"}  # of drafts not shown yet
            for row in due:
                shown = None if row.id in whole else await self._shown(row)
                if shown:
                    await self._screen.show(shown)
                await outbox.sent(self._pool, row.id, [f"{AT_TERMINAL}{row.key}"])
                if row.kind == "leave":
                    self._screen.leave()
        self.happened.set()

    async def _shown(self, row: Row) -> Shown | None:
        name = self._called(row.agent)
        if row.kind == "text":
            return Shown("answer", name, row.text)
        if row.kind == "file":
            return Shown("file", name, str(row.content["said"]))
        if row.kind == "reaction" and row.draft is None:  # else it is offered to be clicked on
            return Shown("reaction", name, row.text)
        if row.kind != "notice":
            return None  # a draft is shown by its stream
        if row.draft is not None:
            return Shown("outcome", name, row.text.rpartition("\n\n")[2])
        if number := await terminal.question(self._pool, row.id):
            return Shown("question", name, typed(row.text), number)
        return Shown("aside" if row.thread else "notice", name, row.text)


def typed(question: str) -> str:
    """A question as it is asked where nothing can be clicked on."""
    before, found, after = question.rpartition(questions.BY_CLICK)
    return f"{before}Answer{after}" if found else question


class Stream:
    """An answer on its way; the outbox has a draft of it, as in a room.

    So what is stopped in the middle is broken off where everybody can see it.
    """

    def __init__(
        self, chat: TerminalChat, pool: Pool, screen: Screen, called: str, turn_id: int,
        place: Place,
    ) -> None:  # fmt: skip
        self._chat, self._pool, self._screen, self._called = chat, pool, screen, called
        self._turn_id, self._place = turn_id, place
        self._pieces: list[str] = []
        screen.grow(called, "")

    def feed(self, text: str) -> None:
        if not self._pieces:
            self._chat.soon(self._draft(text))
        self._pieces.append(text)
        self._screen.grow(self._called, "".join(self._pieces))

    async def finish(self) -> None:
        self._screen.grow(self._called, None)

    async def _draft(self, text: str) -> None:
        lane = inbox.turns(self._place.agent, self._place.room_id)
        await outbox.draft(self._pool, lane, self._place, self._turn_id, text, None)


def plain(shown: Shown) -> str:
    """The same where there are neither colours nor widths."""
    numbered = f"(question {shown.number}) " if shown.number else ""
    reacts = f"{shown.agent} reacts: " if shown.kind == "reaction" else ""
    return f"{numbered}{reacts}{harmless(shown.text)}"


def harmless(text: str) -> str:
    """The text without what a terminal would obey: whoever wrote it may not have meant us well."""
    return _CONTROLS.sub("\ufffd", text.replace("\r\n", "\n"))
