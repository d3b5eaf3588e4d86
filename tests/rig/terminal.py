"""`memtrix-as chat` at a real pseudo-terminal, or at pipes."""

import asyncio
import codecs
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
from pathlib import Path

from memtrix_as.local.ports import free_port
from tests.rig.glass import Glass
from tests.rig.settings import settings, tokens, write
from tests.rig.waiting import Waiting

ROOT = Path(__file__).parents[2]
ANN, BEN = "@ann:hs.test", "@ben:hs.test"
READY = "Ctrl-D leaves"
WIDTH = 100
PATIENCE = 90.0  # seconds: each terminal is a process of its own, and the cores are shared
EDITING = b"\x1b[?2004h"  # bracketed paste, which the line's editor switches on


class Installation:
    """A folder with a configuration; its homeserver is not there."""

    def __init__(self, folder: Path, dsn: str, model_url: str) -> None:
        self.folder = folder
        self.settings = settings(
            tokens("memtrix"), "http://127.0.0.1:9", free_port(), dsn, model_url
        )
        self.settings["permissions"] = {ANN: "admin", "hs.test": "user"}
        self.open: list[Terminal] = []

    def environment(self) -> dict[str, str]:
        # Nobody answers here where the cursor is.
        more = {"PYTHONPATH": str(ROOT), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        unset = ("NO_COLOR", "FORCE_COLOR")
        return {k: v for k, v in os.environ.items() if k not in unset} | more

    def command(self, *arguments: str) -> list[str]:
        config = write(self.folder / "config.yaml", self.settings)
        return [sys.executable, "-m", "memtrix_as", "chat", "-c", str(config), *arguments]

    async def sit_down(
        self, *arguments: str, ready: str = READY, prompt: bool = True, patience: float = PATIENCE
    ) -> "Terminal":
        """A human at a terminal, as soon as it shows `ready`, and a prompt."""
        terminal = Terminal()
        self.open.append(terminal)
        await terminal.start(self.command(*arguments), self.folder, self.environment())
        await terminal.shows(ready, patience)
        if prompt:
            await terminal.edits()
        return terminal

    async def run(self, *arguments: str, typed: str = "") -> tuple[int, str, str]:
        """The command between pipes: exit code, stdout, stderr."""
        child = await asyncio.create_subprocess_exec(
            *self.command(*arguments),
            cwd=self.folder,
            env=self.environment(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(90):
            output, errors = await child.communicate(typed.encode())
        return child.returncode or 0, output.decode(), errors.decode()

    async def close(self) -> None:
        for terminal in self.open:
            await terminal.kill9()


class Terminal(Waiting):
    """What a human types and sees; `text` is what stands there, without colours."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path()
        self.raw = b""
        self.mark = 0  # of the text, where the newest line that was typed stands
        self._glass = Glass(WIDTH)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._master = -1
        self._child: asyncio.subprocess.Process | None = None

    async def start(self, command: list[str], folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, WIDTH, 0, 0))
        self._child = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=env, stdin=slave, stdout=slave, stderr=slave,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
            self.raw += data
            self._glass.write(self._decode(data))
        except OSError:  # the other side is closed
            asyncio.get_running_loop().remove_reader(self._master)
        self.changed()

    @property
    def text(self) -> str:
        return self._glass.text

    def picture(self) -> str:
        return self.text[-3000:]

    def types(self, text: str) -> None:
        """Keys, as they stand; Enter is `\\r`."""
        os.write(self._master, text.encode())

    async def says(self, text: str, answer: str) -> str:
        """A line, and what is shown from there up to `answer`."""
        line = f"> {text}\n"
        before = self.text.count(line)
        self.types(text + "\r")
        await self.until(lambda: self.text.count(line) > before, f"{text!r} on the screen")
        self.mark = self.text.rindex(line)
        return await self.shows(answer)

    async def shows(self, what: str, timeout: float = PATIENCE) -> str:
        """Wait for words below the last line that was typed; what stands there up to them."""
        found = await self.until(
            lambda: self.text.find(what, self.mark) + 1, f"{what!r} on the screen", timeout
        )
        return self.text[self.mark : found - 1 + len(what)]

    async def edits(self) -> None:
        """Wait until keys are ours to interpret."""
        await self.until(lambda: EDITING in self.raw, "a prompt")

    @property
    def ended(self) -> bool:
        return self._child is None or self._child.returncode is not None

    async def ends(self) -> int:
        """Wait for its end; the exit code."""
        assert self._child
        async with asyncio.timeout(PATIENCE):
            return await self._child.wait()

    async def hangs_up(self) -> int:
        """Its window is closed; the exit code."""
        assert self._child
        self._child.send_signal(signal.SIGHUP)
        return await self.ends()

    async def kill9(self) -> None:
        if self._child and self._child.returncode is None:
            self._child.send_signal(signal.SIGKILL)
            await self._child.wait()
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            self._master = -1


def history(folder: Path) -> Path:
    return folder / "data" / f"terminal-{os.getuid()}" / "history"
