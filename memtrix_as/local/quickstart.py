"""From nothing to a chat on this machine: starts every part, proves it with one exchange.

`scripts/quickstart` runs it. Every part is a child that ends with us.
"""

import argparse
import asyncio
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from rich.console import Console
from rich.panel import Panel
from rich.status import Status
from rich.table import Table
from rich.text import Text

from memtrix_as.errors import LocalPartError, MemtrixError
from memtrix_as.local.child import Child, spawn
from memtrix_as.local.choose import Choice, choose
from memtrix_as.local.exchange import Human
from memtrix_as.local.folder import Lock, tail, trim
from memtrix_as.local.installation import Installation, Wishes
from memtrix_as.local.packages import synapse_python
from memtrix_as.local.ports import check_free
from memtrix_as.local.small_model import SmallModel
from memtrix_as.local.synapse import DevSynapse

GREETING = "hello"
MEANING = "searched by words and by meaning"
WORDS = "searched by words; by meaning too with .venv/bin/pip install -e '.[embeddings]' (800 MB)"
LOUD = re.compile(r"^[\d:,. -]*\s*(WARNING|ERROR|CRITICAL)\b")
LINE = re.compile(r"^\d{4}-\d\d-\d\d ")  # a record; other lines continue one


class Voice:
    """What the human sees: a spinner that changes its text, or plain lines without a terminal."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self._status: Status | None = None
        self._last = ""

    def __call__(self, text: str) -> None:
        if not self.console.is_terminal:
            if text != self._last:
                self.console.print(text, markup=False, soft_wrap=True)
        elif self._status is None:
            self._status = self.console.status(text)
            self._status.start()
        else:
            self._status.update(text)
        self._last = text

    def quiet(self) -> None:
        if self._status:
            self._status.stop()
            self._status = None

    def line(self, text: str, style: str = "") -> None:
        self.console.print(text, style=style, markup=False, soft_wrap=True)


class Service:
    """The application service as a child; its log goes to a file, its warnings to the human."""

    def __init__(self, place: Installation, voice: Voice) -> None:
        self._place = place
        self._voice = voice
        self._child: Child | None = None
        self._reader: asyncio.Task[None] | None = None
        # Off while the homeserver is starting too: that it is away is no news then.
        self.loud = False

    async def start(self) -> None:
        """Returns when it is ready to be talked to."""
        child = await spawn(
            [sys.executable, "-m", "memtrix_as", "-c", str(self._place.config)],
            cwd=self._place.folder,
            env=self._place.environment(),
            output=asyncio.subprocess.PIPE,
        )
        self._child = child
        self._reader = asyncio.create_task(self._read(child))
        ready = f"http://127.0.0.1:{self._place.service_port}/_matrix/mau/ready"
        deadline = time.monotonic() + 180
        async with aiohttp.ClientSession() as session:
            while not child.ended and time.monotonic() < deadline:
                try:
                    async with session.get(ready) as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)
        if child.ended:
            await self._reader  # so that its last words are in the log
        raise LocalPartError(f"Memtrix itself did not come up:\n{tail(self._place.log, 12)}")

    async def ended(self) -> None:
        """Returns when it has ended by itself."""
        assert self._child and self._reader
        await self._child.wait()
        await self._reader

    async def stop(self) -> None:
        if self._child and self._reader:
            await self._child.stop(patience=20.0)
            await self._reader
            self._child = None

    async def _read(self, child: Child) -> None:
        assert child.process.stdout is not None
        loud = False
        async for raw in _lines(child.process.stdout):
            trim(self._place.log)
            with self._place.log.open("ab") as log:
                log.write(raw)
            text = raw.decode(errors="replace").rstrip()
            if LINE.match(text):
                loud = bool(LOUD.match(text))
            if loud and text and self.loud:
                self._voice.line(text, "yellow")


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines; also of a length that readline() refuses."""
    rest = b""
    while data := await stream.read(65536):
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest + b"\n"


async def _together(*starts: Coroutine[Any, Any, object]) -> None:
    """All at once; the first failure ends the others, and is the one that is told."""
    try:
        async with asyncio.TaskGroup() as group:
            for start in starts:
                group.create_task(start)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


@asynccontextmanager
async def _running(
    place: Installation, choice: Choice, small: bool, synapse_venv: Path, voice: Voice
) -> AsyncIterator[tuple[DevSynapse, Service]]:
    """Everything up; on leaving, everything down again, Memtrix itself first."""
    python = await synapse_python(synapse_venv, voice)
    homeserver = DevSynapse(
        place.data / "synapse",
        port=place.port,
        server_name=place.settings["homeserver"]["domain"],
        registrations=[place.registration],
        python=python,
        say=voice,
    )
    service = Service(place, voice)
    voice("starting the database, the homeserver and Memtrix")
    await place.register()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(homeserver.stop)
        starts = [service.start(), homeserver.start()]
        if small:
            model = SmallModel(place.data / "models", port=_port(choice), say=voice)
            stack.push_async_callback(model.stop)
            starts.append(model.start())
        stack.push_async_callback(service.stop)
        await _together(*starts)
        await homeserver.register_user(place.notes["user"], place.notes["password"], admin=True)
        service.loud = True
        yield homeserver, service
        voice("stopping")


async def _check_ports(place: Installation, small: Choice | None) -> None:
    """Before anything slow; the parts of a service that was just killed get a moment to end."""
    ports = {"--port": place.port, "--service-port": place.service_port}
    if small:
        ports["--model-port"] = _port(small)
    for last in (False, False, True):
        try:
            for option, port in ports.items():
                check_free(port, f"{option} NUMBER")
            return
        except LocalPartError:
            if last:
                raise
            await asyncio.sleep(1)


def _port(small: Choice) -> int:
    return urlsplit(str(small.provider["base_url"])).port or 0


async def _prove(place: Installation, homeserver: DevSynapse, voice: Voice) -> None:
    """Say hello as the human, in the room that stays theirs, and show both lines."""
    voice(f"saying {GREETING} to {place.bot_id} and waiting for the answer")
    async with Human(homeserver.address, place.user_id, place.notes["password"]) as human:
        if "room" not in place.notes:
            place.note(room=await human.open_room(place.bot_id))
        answer = await human.ask(place.notes["room"], place.bot_id, GREETING, patience=300)
    voice.quiet()
    voice.line(f"{place.notes['user']}: {GREETING}", "bold")
    voice.line(f"Memtrix: {answer}", "green")


def _show(place: Installation, homeserver: DevSynapse, model: str, voice: Voice) -> None:
    terminal = voice.console.is_terminal
    rows = {
        "Open": "Element (the desktop app is best), Sign in, Edit homeserver",
        "Homeserver": f"http://localhost:{homeserver.port}",
        "User name": place.notes["user"],
        # Without a terminal, what we print ends in a log.
        "Password": place.notes["password"] if terminal else "see data/quickstart.json",
        "Chat with": f"{place.bot_id} (the chat is there already). Type !help in it for the "
        "commands. Make other rooms with encryption switched off: it cannot read encrypted ones",
        "Manage": 'accept the invitation to the room "Memtrix management", and type help there',
        "Model": model,
        "Memory": MEANING if find_spec("sentence_transformers") else WORDS,
        "Data": f"{place.data}, workspace and agents beside it; settings in config.yaml",
        "Stop": "Ctrl-C",
    }
    voice.quiet()
    if not terminal:
        for name, text in rows.items():
            voice.line(f"{name}: {text}")
        return
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows.items():
        table.add_row(name, Text(text))  # else what stands in [ ] would be taken for a style
    voice.console.print(Panel(table, title="Memtrix is running", border_style="green"))


async def quickstart(folder: Path, wishes: Wishes, synapse_venv: Path, once: bool) -> None:
    """Runs until it is cancelled; with `once`, until the exchange is proven."""
    voice = Voice()
    place = Installation(folder)
    lock = Lock(place.data)
    await lock.take(voice)
    try:
        place.read(wishes)
        voice("looking for a model")
        choice = await choose(wishes.model, place.model_port(wishes))
        ours = place.configure(wishes, choice)
        model = choice.told if ours else f"{place.settings['main_agent']['model']} of config.yaml"
        small = ours and choice.small
        await _check_ports(place, choice if small else None)
        async with _running(place, choice, small, synapse_venv, voice) as (homeserver, service):
            if once or place.notes.get("proven") != model:
                await _prove(place, homeserver, voice)
                place.note(proven=model)
            _show(place, homeserver, model, voice)
            if once:
                return
            parts = [
                asyncio.create_task(service.ended(), name="Memtrix"),
                asyncio.create_task(homeserver.ended(), name="The homeserver"),
            ]
            try:
                done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                return  # the human stops it: all is well
            raise LocalPartError(
                f"{done.pop().get_name()} has ended by itself; see data/memtrix.log and "
                "data/synapse/synapse.log, and run this again."
            )
    finally:
        voice.quiet()
        lock.release()


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/quickstart",
        description="Starts Memtrix with a homeserver, a database and a model on this machine.",
    )
    parser.add_argument("--user", help="your account's name (first run; else from $USER)")
    parser.add_argument("--model", help="a model of OpenRouter or Ollama, or `small`")
    parser.add_argument("--port", type=int, help="of the homeserver (6167)")
    parser.add_argument("--service-port", type=int, help="of Memtrix itself (29345)")
    parser.add_argument("--model-port", type=int, help="of the small model (29346)")
    parser.add_argument("--once", action="store_true", help="end after one proven exchange")
    parser.add_argument("--synapse-venv", type=Path, default=Path(".venv-synapse"))
    return parser.parse_args(argv)


async def _until_signal(work: asyncio.Task[None]) -> int:
    """The first Ctrl-C or SIGTERM stops everything in order; further ones change nothing.

    Returns the exit code: 0 if it was running by then, or has done what was asked.
    """
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, lambda: work.cancelling() or work.cancel())
    try:
        await work
    except asyncio.CancelledError:
        return 130
    except MemtrixError as exc:
        print(f"\n{exc}", file=sys.stderr)
        return 1
    except OSError as exc:
        print(f"\nThis machine refused: {exc}. Is the disk full?", file=sys.stderr)
        return 1
    return 0


async def main(argv: list[str]) -> int:
    given = _arguments(argv)
    wishes = Wishes(given.user, given.port, given.service_port, given.model_port, given.model)
    venv = given.synapse_venv.absolute()
    work = quickstart(Path.cwd(), wishes, venv, given.once)
    return await _until_signal(asyncio.create_task(work))


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
