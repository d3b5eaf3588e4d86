"""A tool that asks before it runs, dropped into a folder as an operator would: it rings a bell."""

from pathlib import Path

from tests.rig.service import Service

FILE = '''
"""Bells: they count how often they really ran."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memtrix_as.tool import ToolContext, tool

LOG = Path(__file__).with_name("rung.txt")


def _rung(bell: str) -> str:
    with LOG.open("a") as log:
        log.write(bell + "\\n")
    return f"The {bell} rang."


def _effect(arguments: Mapping[str, Any]) -> str:
    return f"Rings the {arguments['bell']} for everybody to hear."


async def _at_night(ctx: ToolContext, arguments: Mapping[str, Any]) -> str | None:
    return "It is night. Ring all the same?" if arguments.get("night") else None


@tool(confirm=True, effect=_effect)
async def ring(ctx: ToolContext, bell: str) -> str:
    """Ring a bell.

    Args:
        bell: which one
    """
    return _rung(bell)


@tool(confirm_if=_at_night)
async def chime(ctx: ToolContext, night: bool = False) -> str:
    """Chime.

    Args:
        night: whether it is night
    """
    return _rung("chime")


@tool()
async def listen(seconds: float = 0.0) -> str:
    """Listen to what rings.

    Args:
        seconds: how long
    """
    await asyncio.sleep(seconds)
    return _rung("ear")
'''


class Bells:
    """The bells of one installation."""

    def __init__(self, service: Service) -> None:
        self._folder: Path = service.folder / "tools"
        self._folder.mkdir(exist_ok=True)
        (self._folder / "bells.py").write_text(FILE)
        service.set("tools.directories", [str(self._folder)])

    @property
    def rung(self) -> list[str]:
        """What has rung, in order."""
        log = self._folder / "rung.txt"
        return log.read_text().split() if log.exists() else []
