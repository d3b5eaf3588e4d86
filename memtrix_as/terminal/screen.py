"""A real terminal: a line to edit at the bottom, and above it what was said, as it grows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from rich.console import Console
from rich.markdown import Markdown
from rich.padding import Padding
from rich.text import Text

from memtrix_as.terminal.chat import Shown, harmless

PROMPT = "> "
REDRAW = 0.1  # seconds between two looks of a growing answer
RENDERED = 6_000  # characters at its end that are rendered then
KEPT_FREE = 4  # lines of the terminal that a growing answer leaves


class PromptScreen:
    """Shows an answer as it grows above the line that the human types in."""

    def __init__(
        self, console: Console, history: History, interrupt: Callable[[], Awaitable[bool]]
    ) -> None:
        """`interrupt` stops what goes on; False when nothing does."""
        self._console = console
        self._interrupt = interrupt
        self._growing: tuple[str, str] | None = None
        self._tail = ""
        self._timer: asyncio.TimerHandle | None = None
        self._typed: asyncio.Queue[str | None] = asyncio.Queue()
        self._session: PromptSession[str] = PromptSession(
            message=self._message, history=history, key_bindings=self._keys()
        )

    async def lines(self) -> AsyncIterator[str]:
        """What the human types, until they leave.

        One prompt for all of it: between two the terminal itself would echo keys, and obey some.
        """
        prompt = asyncio.create_task(self._session.prompt_async())
        prompt.add_done_callback(lambda _: self._typed.put_nowait(None))
        try:
            while (line := await self._typed.get()) is not None:
                yield line
        finally:
            prompt.cancel()
            with suppress(EOFError, asyncio.CancelledError):
                await prompt

    async def show(self, shown: Shown) -> None:
        self._above(lambda: self.put(shown))

    def _above(self, write: Callable[[], None]) -> None:
        """Write something for good, above the line that is being edited."""
        app = self._session.app
        if not app.is_running:
            write()
            return
        app.renderer.erase()
        write()
        self._console.file.flush()
        app.renderer.reset()
        app.renderer.request_absolute_cursor_position()
        app.invalidate()

    def say(self, text: str) -> None:
        """A word of our own, while nobody types."""
        self._console.print(text, style="dim", markup=False, highlight=False)

    def grow(self, agent: str, text: str | None) -> None:
        self._growing = None if text is None else (agent, text)
        if text is None:
            self._tail = ""
            self._session.app.invalidate()
        elif self._timer is None:
            delay = REDRAW if text else 0.0
            self._timer = asyncio.get_running_loop().call_later(delay, self._redraw)

    def leave(self) -> None:
        if self._session.app.is_running:
            self._session.app.exit(exception=EOFError())

    def put(self, shown: Shown) -> None:
        """Write it where the cursor is."""
        show, text = self._console.print, harmless(shown.text)
        agent = Text(harmless(shown.agent), style="bold cyan")
        if shown.kind == "answer":
            show(agent)
            show(markdown(text))
        elif shown.kind == "question":
            show(Text(f"Question {shown.number}", style="bold yellow"))
            show(markdown(text))
        elif shown.kind == "aside":
            show(Padding(markdown(text, style="dim"), (0, 0, 0, 2)))
        elif shown.kind == "reaction":
            show(agent + Text(f" reacts: {text}", style="default not bold"))
        elif shown.kind == "file":
            show(Text(text))
        else:
            show(markdown(text))
        show()

    def _redraw(self) -> None:
        self._timer = None
        if self._growing is None:
            return
        agent, text = self._growing
        if not text.strip():
            self._tail = f"{harmless(agent)} is working (Ctrl-C stops it)\n"
        else:
            rows, width = self._console.size.height, self._console.size.width
            with self._console.capture() as captured:
                self._console.print(markdown(harmless(text[-RENDERED:])), width=width)
            grown = captured.get().rstrip("\n").split("\n")
            self._tail = "\n".join(grown[-max(1, rows - KEPT_FREE) :]) + "\n"
        self._session.app.invalidate()

    def _message(self) -> ANSI:
        # What stays when they leave is the line alone.
        return ANSI(PROMPT if self._session.app.is_done else self._tail + PROMPT)

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter")
        def enter(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            line = buffer.text
            buffer.append_to_history()
            buffer.reset()
            if line.strip():
                self._above(lambda: self._console.print(Text(harmless(PROMPT + line))))
                self._typed.put_nowait(line)

        @keys.add("c-c")
        @keys.add("<sigint>")
        def stop(event: KeyPressEvent) -> None:
            async def interrupt() -> None:
                if not await self._interrupt():
                    event.app.current_buffer.reset()
                    event.app.invalidate()  # else the line stands there until the next key

            event.app.create_background_task(interrupt())

        @keys.add("escape", "enter")
        def new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        return keys


def markdown(text: str, style: str = "none") -> Markdown:
    # No links that hide where they lead to.
    return Markdown(text, style=style, hyperlinks=False)
