"""Finds the tools: ours, those that somebody drops into a folder, those of installed packages."""

import inspect
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from types import ModuleType

from memtrix_as.foreign import Broken, Loader, Part
from memtrix_as.tool import BaseTool, Tool
from memtrix_as.tools.base import About, made

log = logging.getLogger(__name__)

PACKAGE, KEY, GROUP = "memtrix_as.tools", "tools.directories", "memtrix_as.tools"


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
    value = part.value
    if isinstance(value, ModuleType):
        things: Iterable[object] = filter(partial(_own, value), vars(value).values())
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        things = loader.attempt(part.where, partial(list, value)) or ()
    else:
        things = (value,)
    for thing in things:
        if isinstance(thing, Tool):
            yield thing
        elif inspect.isclass(thing) and issubclass(thing, BaseTool):
            where = f"{part.where}: {thing.__name__}"
            tool = loader.attempt(where, partial(made, thing, about))
            if tool is not None:
                yield tool
        else:
            loader.breaks(part.where, f"{thing!r} is neither a tool nor a class of one")


def _own(module: ModuleType, thing: object) -> bool:
    """Whether something in a module is a tool that it offers; a base of others it does not."""
    if inspect.isclass(thing) and issubclass(thing, BaseTool):
        ours = thing.__module__ == module.__name__ and not thing.__name__.startswith("_")
        return ours and not inspect.isabstract(thing)
    return isinstance(thing, Tool)
