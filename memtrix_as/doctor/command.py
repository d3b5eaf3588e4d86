"""The command itself: what to look at, and how it is told."""

import argparse
import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.text import Text

from memtrix_as import config
from memtrix_as.config import Config
from memtrix_as.doctor import around, folders, models
from memtrix_as.doctor.check import ALL, Check, Finding, examine
from memtrix_as.doctor.database import Database
from memtrix_as.doctor.door import Door
from memtrix_as.doctor.homeserver import Homeserver
from memtrix_as.doctor.room import Room
from memtrix_as.errors import ConfigError
from memtrix_as.foreign import in_thread

CLOSING = 5.0  # seconds
LOOK = {"ok": "green", "warn": "yellow", "fail": "bold red", "skipped": "dim"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "--no-model-calls", action="store_true", help="ask no model anything, nor the embeddings"
    )
    parser.add_argument("--json", action="store_true", help="tell it for a program")


async def main(options: argparse.Namespace) -> int:
    """Look, and tell; the exit status is 1 when something is broken."""
    logging.disable(logging.CRITICAL)  # what is wrong is told in our own words
    # Files that others wrote may print when they are loaded.
    with contextlib.redirect_stdout(sys.stderr):
        found = await look(options.config, calls=not options.no_model_calls)
    broken = [each for each in found if each.state == "fail"]
    if options.json:
        rows = [{"check": f.check, "state": f.state, "found": f.found, "fix": f.fix} for f in found]
        print(json.dumps({"ok": not broken, "checks": rows}, indent=2, ensure_ascii=False))
    else:
        tell(found)
    return 1 if broken else 0


async def look(path: Path, *, calls: bool = True, within: float = ALL) -> list[Finding]:
    """All findings about the installation of this configuration; it changes nothing there."""
    try:
        settings = await in_thread(partial(config.load, path))
    except ConfigError as exc:
        return _unreadable(path, exc)
    stack = AsyncExitStack()
    try:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=4)
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        checks = list(_checks(settings, path, http, stack, calls))
        fine = Finding("configuration", "ok", f"{path} can be used")
        return [fine, *await examine(checks, within)]
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await stack.aclose()


def _checks(
    settings: Config, path: Path, http: aiohttp.ClientSession, stack: AsyncExitStack, calls: bool
) -> Iterator[Check]:
    database = Database(settings, path, stack)
    yield from folders.checks(settings, path)
    yield from database.checks()
    homeserver = Homeserver(settings, path, http, Door(settings, http, stack))
    yield from homeserver.checks()
    yield from models.Providers(settings, stack, calls=calls).checks()
    yield models.embeddings(settings, calls=calls)
    yield from around.checks(settings)
    yield from Room(settings, database, homeserver).checks()


def _unreadable(path: Path, exc: ConfigError) -> list[Finding]:
    """A line for each thing that is wrong with the file; its text holds the way out."""
    first, *problems = str(exc).splitlines()
    fix = f"correct it in {path}; config.example.yaml explains each key"
    lines = [line.strip() for line in problems] or [first]
    return [
        *(Finding("configuration", "fail", line, fix) for line in lines),
        Finding("all else", "skipped", "cannot be looked at before the configuration is well"),
    ]


def tell(found: Sequence[Finding], console: Console | None = None) -> None:
    """A line for each, coloured on a terminal, the fix below it; then what it comes to."""
    console = console or Console(highlight=False, soft_wrap=True)
    width = max(len(each.check) for each in found)
    for each in found:
        line = Text.assemble(
            (f"{each.state:<8}", LOOK[each.state]), f"{each.check:<{width}}  {each.found}"
        )
        console.print(line)
        if each.fix:
            console.print(Text(f"{'':<8}{'':<{width}}  fix: {each.fix}", style="bold"))
    count = {state: sum(each.state == state for each in found) for state in LOOK}
    parts = [f"{count['fail']} broken"] * bool(count["fail"])
    parts += [f"{count['warn']} to look at"] * bool(count["warn"])
    parts += [f"{count['skipped']} not looked at"] * bool(count["skipped"])
    console.print(", ".join(parts) or "All is well.")
