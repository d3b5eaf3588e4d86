"""Processes of the product that start in a moment and can be killed at any: see `zygote.py`."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Self

from memtrix_as.local.child import environment
from tests.faults.doom import Doom

ROOT = Path(__file__).parents[2]


class Nursery:
    """One forking process, and those that it made."""

    async def __aenter__(self) -> Self:
        self._ended: dict[int, asyncio.Future[int]] = {}
        self._born: asyncio.Queue[int] = asyncio.Queue()
        self._one = asyncio.Lock()
        self._zygote = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.zygote",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
            env={**environment(), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._zygote.stdin
        self._zygote.stdin.close()
        await self._zygote.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._zygote.stdout
        async for line in self._zygote.stdout:
            told = json.loads(line)
            if pid := told.get("pid"):
                self._ended[pid] = asyncio.get_running_loop().create_future()
                self._born.put_nowait(pid)
            else:
                self._ended[told["ended"]].set_result(told["status"])

    async def bear(
        self, arguments: Sequence[str], cwd: Path, log: Path, doom: Doom | None = None
    ) -> "Mortal":
        assert self._zygote.stdin
        order = {"arguments": [*arguments], "cwd": str(cwd), "log": str(log),
                 "doom": asdict(doom or Doom())}  # fmt: skip
        async with self._one:
            self._zygote.stdin.write(json.dumps(order).encode() + b"\n")
            pid = await asyncio.wait_for(self._born.get(), 30)
        return Mortal(pid, self._ended[pid])


class Mortal:
    """A process of the product."""

    def __init__(self, pid: int, ended: "asyncio.Future[int]") -> None:
        self.pid, self._ended = pid, ended

    @property
    def alive(self) -> bool:
        return not self._ended.done()

    async def ends(self) -> int:
        return await asyncio.shield(self._ended)

    def arm(self) -> None:
        """From now on its steps are counted."""
        os.kill(self.pid, signal.SIGUSR1)

    async def kill(self, signum: int = signal.SIGKILL) -> int:
        """End it; its exit status, negative for a signal. Also when it has ended already."""
        if self.alive:
            os.kill(self.pid, signum)
        return await self.ends()

    @property
    def memory(self) -> float:
        """Resident MB; 0 if it has just ended, which the zygote tells a moment later."""
        with suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    return int(line.split()[1]) / 1024
        return 0.0
