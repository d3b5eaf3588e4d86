"""Finds the tools: ours, those that somebody drops into a folder, those of installed packages."""

import inspect
import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import cast

from memtrix_as.foreign import Broken, Loader, Part
from memtrix_as.tool import BaseTool, Tool
from memtrix_as.tools.base import NAME, About, made

log = logging.getLogger(__name__)

PACKAGE, KEY, GROUP = "memtrix_as.tools", "tools.directories", "memtrix_as.tools"
LARGEST = 32_000  # bytes of what a model is told of one tool


@dataclass(frozen=True)
class Found:
    """The tools by name, and what could not be used."""

    tools: Mapping[str, Tool]
    broken: tuple[Broken, ...] = ()


def discover(
    directories: Iterable[Path] = (), disabled: Collection[str] = (), about: About | None = None
) -> Found:
    """Look everywhere. A name belongs to whoever has it first: we, then folders, then packages.

    Without `about`, a class whose constructor asks for something is among the broken ones.
    """
    loader = Loader()
    found: dict[str, Tool] = {}
    parts = chain(
        loader.package(PACKAGE), loader.folders(directories, KEY), loader.installed(GROUP)
    )
    for part in parts:
        for tool in _tools(loader, part, about):
            known = found.setdefault(tool.name, tool)
            if known is not tool:
                loader.breaks(
                    part.where, f"there is a tool {tool.name} already; this one is left out"
                )
    for name in set(disabled) - found.keys():
        log.warning("tools.disabled: there is no tool %s", name)
    offered = {name: tool for name, tool in found.items() if name not in disabled}
    return Found(offered, tuple(loader.broken))


def _tools(loader: Loader, part: Part, about: About | None) -> Iterator[Tool]:
    """What a file, or what an entry point stands for, offers."""
    things = loader.attempt(part.where, partial(_things, part.value)) or ()
    for thing in things:
        where = part.where
        if issubclass(type(thing), type):
            where = f"{where}: {getattr(thing, '__name__', '')}"
        tool = loader.attempt(where, partial(_tool, thing, about))
        if tool is not None:
            yield tool


def _things(value: object) -> Sequence[object]:
    if isinstance(value, ModuleType):
        return [thing for thing in vars(value).values() if _own(value, thing)]
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        return list(value)
    return (value,)


def _own(module: ModuleType, thing: object) -> bool:
    """Whether something in a module is a tool that it offers; a base of others it does not."""
    kind = type(thing)  # isinstance() would ask the thing itself, and a proxy may raise then
    if issubclass(kind, type) and issubclass(cast(type, thing), BaseTool):
        found = cast(type[BaseTool], thing)
        ours = found.__module__ == module.__name__ and not found.__name__.startswith("_")
        return ours and not inspect.isabstract(found)
    return issubclass(kind, Tool)


def _tool(thing: object, about: About | None) -> Tool:
    """The tool that something is. Raises TypeError or ValueError with what is wrong with it."""
    if inspect.isclass(thing) and issubclass(thing, BaseTool):
        thing = made(thing, about)
    if not isinstance(thing, Tool):
        raise TypeError(f"{thing!r} is neither a tool nor a class of one")
    spec = thing.spec
    if not isinstance(spec.name, str) or not NAME.fullmatch(spec.name):
        raise ValueError(f"the name {spec.name!r} has other signs than letters, digits, _ and -")
    # It goes out with every question to a model: what cannot be sent would silence all agents.
    sent = json.dumps([spec.description, spec.parameters], ensure_ascii=False, allow_nan=False)
    if len(sent.encode()) > LARGEST:
        raise ValueError(
            f"description and parameters are over {LARGEST:,} bytes; no model reads it"
        )
    return thing
