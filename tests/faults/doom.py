"""What befalls a process: it dies at its n-th step, may write no large file, has another time.

A step is a statement on its way to PostgreSQL or answered by it, a request to the homeserver or to
the model likewise, an answer to the homeserver, a file put in place. They are counted from SIGUSR1
on, outside the product: in the libraries that it speaks through.
"""

import datetime
import mmap
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg
import httpx2
import psycopg
from aiohttp import web

WIDTH = 8


@dataclass
class Doom:
    """`counter` is a file in which a process's steps are counted, visible when it is dead."""

    step: int = 0  # dies right before this one; 0: never
    counter: str = ""
    steps: str = ""  # a file that gets the names of the steps
    file_size: int = 0  # bytes
    clock: float = 0.0  # seconds that this process's clock is off

    def begin(self) -> None:
        if self.file_size:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_size, self.file_size))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        if self.clock:
            _shift(self.clock)
        if self.counter:
            self._armed = False
            self._count = 0
            with open(self.counter, "w+b") as file:
                file.write(b"0" * WIDTH)
                file.flush()
                self._map = mmap.mmap(file.fileno(), WIDTH)
            self._names = open(self.steps, "a") if self.steps else None
            signal.signal(signal.SIGUSR1, self._arm)
            self._watch()

    def _arm(self, *_: object) -> None:
        self._armed = True

    def reach(self, name: str) -> None:
        """A step begins; here the process may end."""
        if not self._armed:
            return
        self._count += 1
        self._map[:WIDTH] = b"%0*d" % (WIDTH, self._count)
        if self._names:
            print(self._count, name, file=self._names, flush=True)
        if self._count == self.step:
            os.kill(os.getpid(), signal.SIGKILL)

    def _watch(self) -> None:
        database = asyncpg.connection.Connection
        for method in ("execute", "_execute", "executemany", "copy_records_to_table"):
            self._wrap(database, method, _sql)
        self._wrap(psycopg.AsyncCursor, "execute", _sql)
        self._wrap(aiohttp.ClientSession, "_request", lambda a: f"{a[0]} {str(a[1])[:100]}")
        self._wrap(httpx2.AsyncClient, "send", lambda a: f"model {a[0].url}")
        self._wrap(web.Response, "_start", lambda a: f"answer {a[0].path}")
        replace, fsync = os.replace, os.fsync

        def placed(*args: Any, **named: Any) -> None:
            self.reach(f"file {args[-1]}")
            replace(*args, **named)
            self.reach(f"file {args[-1]} is there")

        def written(file: int) -> None:
            fsync(file)
            self.reach("file written")

        os.replace, os.fsync = placed, written

    def _wrap(self, owner: type, name: str, tell: Callable[[tuple[Any, ...]], str]) -> None:
        method = getattr(owner, name)
        doom = self

        async def stepping(self: Any, *args: Any, **named: Any) -> Any:
            doom.reach(f"{tell(args)}")
            outcome = await method(self, *args, **named)
            doom.reach(f"{tell(args)}: answered")
            return outcome

        setattr(owner, name, stepping)


def _sql(args: tuple[Any, ...]) -> str:
    return " ".join(str(args[0]).split())[:100]


def _shift(seconds: float) -> None:
    """Let the product's Python see another time; the monotonic clock goes on as it is."""
    real = time.time

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.datetime.fromtimestamp(time.time(), tz)

    time.time = lambda: real() + seconds
    for module in [*sys.modules.values()]:
        if getattr(module, "__name__", "").startswith("memtrix_as"):
            for name, value in [*vars(module).items()]:
                if value is datetime.datetime:
                    setattr(module, name, Shifted)
