"""Where there is no terminal: lines in, lines out; and one question for a script."""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from threading import Thread
from typing import TextIO

from memtrix_as.terminal.chat import Shown, plain


def lines(source: TextIO) -> AsyncIterator[str]:
    """What is read, a line at a time, until its end.

    By a thread that nobody waits for: such a read cannot be cancelled, and of a file not be polled.
    """
    loop, waiting = asyncio.get_running_loop(), asyncio.Queue[str]()

    def read() -> None:
        for line in iter(source.readline, ""):
            loop.call_soon_threadsafe(waiting.put_nowait, line)
        loop.call_soon_threadsafe(waiting.put_nowait, "")

    async def given() -> AsyncIterator[str]:
        while line := await waiting.get():
            yield line.rstrip("\n")

    Thread(target=read, daemon=True, name="stdin").start()
    return given()


def write(text: str, output: TextIO) -> None:
    with suppress(BrokenPipeError):  # nobody reads any more: it counts as said
        print(text, file=output, flush=True)


class PlainScreen:
    """Shows whole messages, one below the other."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self.gone = False  # the agent has said goodbye

    async def show(self, shown: Shown) -> None:
        write(f"{plain(shown)}\n", self._output)

    def grow(self, agent: str, text: str | None) -> None:
        """What is not whole is not shown."""

    def leave(self) -> None:
        self.gone = True


class OnceScreen:
    """The answer to one question on stdout, as it was written; all else on stderr.

    What a command says is its answer.
    """

    def __init__(self, *, command: bool) -> None:
        self._answers = {"answer", "notice"} if command else {"answer"}
        self.asked: deque[int] = deque()  # numbers of questions

    async def show(self, shown: Shown) -> None:
        if shown.kind == "question":
            self.asked.append(shown.number)
        output = sys.stdout if shown.kind in self._answers else sys.stderr
        write(plain(shown), output)

    def grow(self, agent: str, text: str | None) -> None:
        """A script reads the whole."""

    def leave(self) -> None:
        """We are about to."""
