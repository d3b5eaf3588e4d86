"""`memtrix-as chat`: a conversation in the terminal, or one question of a script."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, TypeVar

from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from rich.console import Console

from memtrix_as import config
from memtrix_as.config import Config
from memtrix_as.db import terminal
from memtrix_as.db.pool import DOWN
from memtrix_as.errors import DatabaseError, LocalPartError
from memtrix_as.local.folder import private, trim
from memtrix_as.matrix import answers
from memtrix_as.terminal import seat, who
from memtrix_as.terminal.chat import Screen, Shown
from memtrix_as.terminal.plain import OnceScreen, PlainScreen, lines
from memtrix_as.terminal.screen import PromptScreen
from memtrix_as.terminal.seat import Seat, Wanted

T = TypeVar("T")

USAGE = 2  # the exit code for what cannot be asked
LEAVING = {"/quit", "/exit", "!quit", "!exit"}
LOOK = 1.0  # seconds until we look again though nothing has told us of news
FAREWELL = 3.0  # seconds that the last words of what was stopped are waited for
WELCOME = "{agent}, as {human}. /help shows the commands, Ctrl-C stops an answer, Ctrl-D leaves."
GOING_ON = "Going on with what was interrupted."
STOPPED = "What was under way is stopped."
AWAY = "The database is away, so this was not taken: {why}. Send it again in a moment."
NOBODY = (
    "Question {number} was answered with no: there is nobody to ask, since the input is no "
    "terminal. Ask in `memtrix-as chat`, where you can say yes."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--agent", metavar="NAME", help="talk with this agent, not the main one")
    parser.add_argument(
        "--as", dest="human", metavar="@YOU:DOMAIN",
        help="who you are (default: memory.owner, or the only administrator)",
    )  # fmt: skip
    parser.add_argument(
        "--once", metavar="QUESTION",
        help="answer this on stdout and end; - reads the question from stdin",
    )  # fmt: skip


async def main(options: argparse.Namespace) -> int:
    """Returns the exit code; every MemtrixError is a sentence to be told."""
    work = asyncio.create_task(_main(options))
    ended: list[int] = []

    def end(signum: int) -> None:  # so that the terminal is left as it was
        ended.append(signum)
        work.cancel()

    for signum in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(signum, end, signum)
    try:
        return await work
    except asyncio.CancelledError:
        if not ended:
            raise
        return 128 + ended[0]


async def _main(options: argparse.Namespace) -> int:
    settings = config.load(options.config)
    wanted = Wanted(
        who.human(settings, options.human), options.agent, passing=options.once is not None
    )
    try:
        if options.once is not None:
            question = sys.stdin.read() if options.once == "-" else str(options.once)
            return await _once(settings, wanted, question)
        bare = config.environment("TERM") in (None, "dumb", "unknown")
        if bare or not (sys.stdin.isatty() and sys.stdout.isatty()):
            return await _lines(settings, wanted)
        return await _talk(settings, wanted)
    except DOWN as exc:
        raise DatabaseError(f"The database went away: {exc or type(exc).__name__}") from exc


async def _talk(settings: Config, wanted: Wanted) -> int:
    console = Console(highlight=False)
    folder = _folder(settings)
    sitting: list[Seat] = []

    async def interrupt() -> bool:
        with suppress(*DOWN):
            if sitting and (await sitting[0].left()).undone:
                await sitting[0].take("/stop")
                return True
        return False

    screen = PromptScreen(console, _history(folder), interrupt)
    with _log(folder) as log:
        config.setup_logging(settings, to=log)
        async with seat.taken(settings, wanted, screen, screen.say) as at:
            sitting.append(at)
            screen.say(WELCOME.format(agent=at.agent.display_name, human=wanted.human))
            if (await at.left()).undone:
                screen.say(GOING_ON)
            for question in at.asked:
                await screen.show(question)
            async for line in screen.lines():
                if line.strip() in LEAVING:
                    break
                await _enter(at, screen, line)
            if await at.abandon():
                screen.say(STOPPED)
                await _quiet(at, FAREWELL)
    return 0


async def _enter(at: Seat, screen: Screen, line: str) -> None:
    try:
        _, told = await at.take(line)
    except DOWN as exc:
        told = AWAY.format(why=exc or type(exc).__name__)
    if told:
        await screen.show(Shown("notice", at.agent.display_name, told))


async def _lines(settings: Config, wanted: Wanted) -> int:
    """A conversation with a pipe: each line is answered before the next is read."""
    config.setup_logging(settings, to=sys.stderr, level="ERROR")
    screen = PlainScreen(sys.stdout)
    async with seat.taken(settings, wanted, screen, _tell) as at:

        async def converse() -> int:
            await _quiet(at)
            async for line in lines(sys.stdin):
                if line.strip() in LEAVING:
                    break
                await _enter(at, screen, line)
                await _quiet(at)
                if screen.gone:
                    break
            await at.abandon()
            return 0

        return await _stopped_with_us(at, converse())


async def _once(settings: Config, wanted: Wanted, question: str) -> int:
    config.setup_logging(settings, to=sys.stderr, level="ERROR")
    if not question.strip():
        _tell("There is no question.")
        return USAGE
    screen = OnceScreen(command=question.lstrip().startswith(("/", "!")))
    async with seat.taken(settings, wanted, screen, _tell) as at:
        event_id, told = await at.take(question)
        if event_id is None:
            _tell(told or "Nothing came of it.")
            return USAGE
        code = await _stopped_with_us(at, _answered(at, screen, event_id))
        with suppress(*DOWN):
            await at.keeper.catch_up()
        return code


async def _answered(at: Seat, screen: OnceScreen, event_id: str) -> int:
    replies = lines(sys.stdin) if sys.stdin.isatty() else None
    while True:
        at.chat.happened.clear()
        while screen.asked:
            number, word = screen.asked.popleft(), "no"
            if replies is None:
                _tell(NOBODY.format(number=number))
            else:
                said = answers.word(await anext(replies, "no"))
                if said is None:
                    _tell("Answer yes, no or always.")
                    screen.asked.appendleft(number)
                    continue
                word = said.word
            _, told = await at.take(f"{word} {number}")
            if told:
                _tell(told)
        ended = await terminal.outcome(at.pool, event_id)
        if ended and (await at.left()).idle:
            return 0 if ended == "done" else 1
        await _news(at)


async def _quiet(at: Seat, patience: float | None = None) -> None:
    """Wait until nothing goes on, or nothing goes on without an answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while True:
                at.chat.happened.clear()
                left = await at.left()
                if left.idle or left.asks:
                    return
                await _news(at)


async def _news(at: Seat) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK):
            await at.chat.happened.wait()


async def _stopped_with_us(at: Seat, work: Coroutine[Any, Any, T]) -> T:
    """Do it; a Ctrl-C stops what the agent does for us as well."""
    try:
        return await work
    except asyncio.CancelledError:
        with suppress(*DOWN):
            await at.abandon()
        raise


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _folder(settings: Config) -> Path:
    folder = settings.data_directory / f"terminal-{os.getuid()}"
    try:
        settings.data_directory.mkdir(parents=True, exist_ok=True)
        return private(folder)
    except OSError as exc:
        raise LocalPartError(
            f"{folder}, for the history of what you type, cannot be made ({exc.strerror})."
        ) from exc


def _private_file(path: Path) -> Path:
    """A file for us alone, not longer than a log may be."""
    trim(path)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    return path


def _log(folder: Path) -> TextIO:
    return _private_file(folder / "log").open("a", encoding="utf-8")


def _history(folder: Path) -> History:
    try:
        return FileHistory(str(_private_file(folder / "history")))
    except OSError:
        return InMemoryHistory()
