"""Code that others wrote: files dropped into a folder, installed packages, and calls that block.

Whatever breaks in it disables itself and nothing else, and is kept to be told of.
"""

import asyncio
import contextvars
import hashlib
import importlib
import logging
import pkgutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 60.0  # seconds for one file: some import half of the world
LONGEST = 500  # characters of an error


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that cannot be used: the file or package, and why, in words for the operator."""

    where: str
    why: str


@dataclass(frozen=True, slots=True)
class Part:
    """What was loaded: a module, or whatever else an entry point stands for; `where` it is from.

    `name` is that of the file or the entry point.
    """

    where: str
    name: str
    value: Any


class Loader:
    """Loads what others wrote; `broken` holds what could not be loaded or used."""

    def __init__(self) -> None:
        self.broken: list[Broken] = []

    def package(self, name: str) -> Iterator[Part]:
        """The modules of a package of ours, into whose folder somebody may have dropped one."""
        for found in pkgutil.iter_modules(importlib.import_module(name).__path__):
            where = f"{name}.{found.name}"
            yield from self._loaded(where, found.name, partial(importlib.import_module, where))

    def folders(self, folders: Iterable[Path], key: str) -> Iterator[Part]:
        """The files of each folder by name, but for those that begin with `_` or a dot.

        A folder is a package, whatever it is called: so files of the same name in two folders do
        not meet, a file is loaded once however it is reached, and one imports its neighbours as
        `from . import neighbour`. `key` is where the configuration names the folders.
        """
        for folder in dict.fromkeys(path.resolve() for path in folders):
            if not folder.is_dir():
                self.breaks(str(folder), f"{key} names it, but there is no such folder")
                continue
            package = _as_package(folder)
            for file in sorted(folder.glob("[!_.]*.py")):
                yield from self._loaded(str(file), file.stem, partial(_file, package, file))

    def installed(self, group: str) -> Iterator[Part]:
        """What installed packages offer under an entry point group."""
        for entry in sorted(entry_points(group=group), key=lambda e: (e.name, e.value)):
            package = entry.dist.name if entry.dist else "an installed package"
            yield from self._loaded(f"{package} ({entry.name} = {entry.value})", entry.name,
                                    entry.load)  # fmt: skip

    def attempt(self, where: str, work: Callable[[], T]) -> T | None:
        """What a piece of their code returns; None when it broke, or did not end."""
        done = _begun(work)
        try:
            return done.result(PATIENCE)
        except BaseException as exc:  # also sys.exit(): a foreign file must not end the service
            if done.done():
                where, why = _shown(where), _why(exc)
                log.error("%s cannot be used: %s\n%s", where, why, _traceback(exc))
                self.broken.append(Broken(where, why))
            elif isinstance(exc, TimeoutError):
                self.breaks(where, f"it did not come to an end within {PATIENCE:g} seconds")
            else:
                raise  # somebody interrupts us, and not the file itself
            return None

    def breaks(self, where: str, why: str) -> None:
        """Note, and tell the log, that something cannot be used."""
        where = _shown(where)
        log.error("%s: %s", where, why)
        self.broken.append(Broken(where, why))

    def _loaded(self, where: str, name: str, load: Callable[[], Any]) -> Iterator[Part]:
        value = self.attempt(where, load)
        if value is not None:
            yield Part(where, name, value)


def _as_package(folder: Path) -> str:
    """The name of a package that stands for the folder; what was loaded before is forgotten."""
    name = f"memtrix_dropped_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    for known in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
        del sys.modules[known]
    importlib.invalidate_caches()
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    return name


def _file(package: str, file: Path) -> ModuleType:
    if "." in file.stem:
        raise ImportError("its name has a dot before .py, which no module can have; rename it")
    try:
        return importlib.import_module(f"{package}.{file.stem}")
    except ModuleNotFoundError as exc:
        if exc.name and (file.parent / f"{exc.name}.py").is_file():
            way = f"{exc.name}.py stands beside it: write `from . import {exc.name}`"
            raise ImportError(way) from exc
        raise


def _why(exc: BaseException) -> str:
    """What it is and says, on one line; what its own code breaks on, it does not say."""
    try:
        text = " ".join(str(exc).split())[:LONGEST]
    except BaseException:
        text = ""
    return _shown(f"{type(exc).__name__}: {text}" if text else type(exc).__name__)


def _traceback(exc: BaseException) -> str:
    """Where it broke, from its own code on."""
    frames = traceback.extract_tb(exc.__traceback__)
    ours = max(n for n, frame in enumerate(frames) if frame.filename == __file__)
    return _shown("".join(traceback.format_list(frames[ours + 1 :]))).rstrip()


def _shown(text: str) -> str:
    """What a name of no encoding, which a file may have, looks like where only text can stand."""
    return text.encode(errors="backslashreplace").decode()


async def in_thread(work: Callable[[], T]) -> T:
    """Run what may block, in a thread of its own, and wait for it; RuntimeError if it exits."""
    return await asyncio.wrap_future(_begun(partial(_tamed, work)))


def _begun(work: Callable[[], T]) -> "Future[T]":
    """Begin something in a thread of its own.

    Not asyncio's: those are few and for all of us, so foreign calls that hang would stop everything
    that reads a file; and a process waits for them when it ends, which may be for ever.
    """
    done: Future[T] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        done.set_running_or_notify_cancel()
        try:
            done.set_result(context.run(work))
        except BaseException as exc:
            done.set_exception(exc)

    threading.Thread(target=run, name="foreign", daemon=True).start()
    return done


def _tamed(work: Callable[[], T]) -> T:
    try:
        return work()
    except Exception as exc:
        # A future of asyncio that gets a StopIteration would never be done.
        if isinstance(exc, StopIteration):
            raise RuntimeError("a stray StopIteration") from exc
        raise
    except BaseException as exc:  # sys.exit() ends what was called, and not the service
        raise RuntimeError(f"it ended with {exc!r}") from exc
