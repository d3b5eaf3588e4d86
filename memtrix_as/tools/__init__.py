"""The built-in tools, one file per group; and those that an operator drops into a folder.

Every Tool that stands in a file of this folder, or of a folder of `tools.directories`, is offered.
"""

import importlib
import importlib.util
import logging
import pkgutil
from collections.abc import Collection, Iterable
from pathlib import Path
from types import ModuleType

from memtrix_as.tool import Tool

log = logging.getLogger(__name__)


def discover(directories: Iterable[Path] = (), disabled: Collection[str] = ()) -> dict[str, Tool]:
    """The tools by name: ours first, then those of each folder, file by file.

    A file that cannot be loaded is told in the log and disables itself only; so does a tool whose
    name is taken.
    """
    found: dict[str, Tool] = {}
    for built_in in pkgutil.iter_modules(__path__, f"{__name__}."):
        module = importlib.import_module(built_in.name)
        found |= {tool.name: tool for tool in _tools(module)}
    for directory in directories:
        if not directory.is_dir():
            log.error("tools.directories: there is no folder %s", directory)
            continue
        for file in sorted(directory.glob("[!_.]*.py")):
            _add(found, file)
    for name in set(disabled) - found.keys():
        log.warning("tools.disabled: there is no tool %s", name)
    return {name: tool for name, tool in found.items() if name not in disabled}


def _add(found: dict[str, Tool], file: Path) -> None:
    try:
        tools = _tools(_load(file))
    # Anything may go wrong in a file that somebody dropped in; it disables itself only.
    except (Exception, SystemExit):
        log.exception("The tool file %s cannot be loaded", file)
        return
    for tool in tools:
        if tool.name in found:
            log.error("%s: there is a tool %s already; this one is left out", file, tool.name)
        else:
            found[tool.name] = tool


def _load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"memtrix_tools_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _tools(module: ModuleType) -> list[Tool]:
    return [value for value in vars(module).values() if isinstance(value, Tool)]
