"""The built-in tools, one file per group; every Tool in a file of this folder is offered."""

import importlib
import pkgutil

from memtrix_as.tool import Tool


def discover() -> dict[str, Tool]:
    """The tools of this folder by name."""
    found: dict[str, Tool] = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Tool):
                found[value.name] = value
    return found
