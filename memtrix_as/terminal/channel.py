"""What tools put before the human at a terminal: emoji, and files by their path."""

from memtrix_as.config import Config
from memtrix_as.db import inbox, outbox
from memtrix_as.db.outbox import Once
from memtrix_as.db.pool import Pool
from memtrix_as.errors import ToolError
from memtrix_as.matrix.channel import MOST_REACTIONS, one_emoji
from memtrix_as.messages import OutgoingFile
from memtrix_as.terminal.chat import TerminalChat
from memtrix_as.tool import ToolContext
from memtrix_as.workspace import Workspaces

MOST_FILES = 10  # of one turn
NO_ONE = "This turn answers nobody at the terminal, so there is nothing to show it on."


class TerminalChannel:
    """What `tool.Channel` asks for, at a terminal."""

    def __init__(
        self, pool: Pool, chat: TerminalChat, config: Config, workspaces: Workspaces
    ) -> None:
        self._pool = pool
        self._chat = chat
        self._most = config.tools.send_size * 1_000_000
        self._workspaces = workspaces

    async def offer_room(self, ctx: ToolContext, agent: str, called: str) -> bool:
        return False  # rooms are the homeserver's

    async def react(self, ctx: ToolContext, emoji: str) -> None:
        sign = one_emoji(emoji)
        await self._place(
            ctx, Once(f"reaction {sign}", "reaction", sign, target=ctx.event_id), MOST_REACTIONS
        )

    async def largest(self, ctx: ToolContext) -> int:
        return self._most

    async def send_file(self, ctx: ToolContext, file: OutgoingFile, caption: str = "") -> None:
        """Say where the file lies: whoever sits here can open it there."""
        calls = (call for message in reversed(ctx.history) for call in message.calls)
        path = next((c.arguments.get("path", "") for c in calls if c.id == ctx.call_id), file.name)
        where = self._workspaces.of(ctx.place.agent).root / str(path)
        said = f"{caption}\n\n📎 {where} ({file.mimetype}, {file.size:,} bytes)".strip()
        text = f"{caption}\n[file: {file.name}]".strip()
        once = Once(f"file {file.digest}", "file", text, content={"said": said})
        await self._place(ctx, once, MOST_FILES)

    async def _place(self, ctx: ToolContext, what: Once, most: int) -> None:
        if not ctx.event_id or ctx.place.among_agents:
            raise ToolError(NO_ONE)
        lane = inbox.turns(ctx.place.agent, ctx.place.room_id)
        if not await outbox.place(self._pool, lane, ctx.place, ctx.turn_id, what, most):
            raise ToolError(f"{most} of these in one turn are enough. Say the rest in words.")
        self._chat.post(lane)
