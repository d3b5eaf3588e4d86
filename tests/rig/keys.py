"""A real terminal, in which somebody types."""

import asyncio
import os
import sys
from pathlib import Path

import pexpect

ROOT = Path(__file__).parents[2]


class Keys:
    """`memtrix-as` with these arguments in a terminal, and somebody who types."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "COLUMNS": "200"}
        self.said = ""
        self.child = pexpect.spawn(
            sys.executable, ["-m", "memtrix_as", *arguments], cwd=str(folder), env=env,
            encoding="utf-8", timeout=40, dimensions=(50, 200),
        )  # fmt: skip

    async def type(self, question: str, *keys: str) -> None:
        """Wait for a question, and answer it; with several answers it is asked again."""
        for key in keys:
            await self.sees(question)
            self.child.sendline(key)

    async def sees(self, text: str) -> None:
        await asyncio.to_thread(self.child.expect_exact, text)
        self.said += self.child.before + self.child.after

    def close(self) -> None:
        self.child.close(force=True)

    async def ended(self) -> int:
        await asyncio.to_thread(self.child.expect_exact, pexpect.EOF)
        self.said += self.child.before
        self.child.close()
        return int(self.child.exitstatus or 0)
