"""Calls a tool as a turn does, but without a room."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from memtrix_as import config, tools
from memtrix_as.attachments import Attachments
from memtrix_as.documents.extract import Documents
from memtrix_as.messages import Place
from memtrix_as.outbound.web import Web as Way
from memtrix_as.tool import ToolContext
from memtrix_as.workspace import Workspaces
from tests.test_config import GOOD, write


class Nothing(Attachments):
    """Nobody sends anything here."""

    def __init__(self) -> None: ...

    async def admit(self, ctx: ToolContext, path: str) -> None: ...

    async def hidden(self, ctx: ToolContext) -> set[str]:
        return set()


class Bench:
    """Our tools over a fresh workspace."""

    def __init__(self, folder: Path, services: Mapping[type, Any] | None = None) -> None:
        settings = config.load(write(folder, GOOD))
        self.root = settings.workspace_directory
        self.root.mkdir()
        self.agents = settings.agents_directory
        self.workspaces = Workspaces(settings)
        self._services: dict[type, Any] = {
            Attachments: Nothing(),
            Workspaces: self.workspaces,
            Documents: Documents(),
            Way: Way.of(settings),
            **(services or {}),
        }
        self._tools = tools.discover().tools

    def context(self, agent: str = "memtrix") -> ToolContext:
        place = Place("!r:hs", agent)
        return ToolContext(place, "@ann:hs", "$1", ZoneInfo("UTC"), services=self._services)

    async def call(self, name: str, *, agent: str = "memtrix", **arguments: Any) -> str:
        """The result; a yes is taken for granted."""
        tool, ctx = self._tools[name], self.context(agent)
        agreed = await tool.confirm_if(ctx, tool.validated(arguments)) if tool.confirm_if else None
        return await tool(replace(ctx, agreed=agreed), arguments)

    async def unasked(self, name: str, **arguments: Any) -> str:
        """The result when nobody was asked, whatever there is now."""
        return await self._tools[name](self.context(), arguments)

    async def question(self, name: str, **arguments: Any) -> str | None:
        """What the human is asked before; None when nothing is."""
        tool = self._tools[name]
        values = tool.validated(arguments)
        asked = await tool.confirm_if(self.context(), values) if tool.confirm_if else None
        return asked or (name if tool.confirm else None)

    def put(self, path: str, data: bytes | str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.encode() if isinstance(data, str) else data)
        return file
