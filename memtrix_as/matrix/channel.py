"""What tools put into the room of their turn: emoji and files, through the outbox like words."""

import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any, Literal

import regex

from memtrix_as.config import Config
from memtrix_as.db import approvals, inbox, offers, outbox
from memtrix_as.db.offers import Offering
from memtrix_as.db.outbox import Once
from memtrix_as.db.pool import Pool
from memtrix_as.errors import HomeserverError, ToolError
from memtrix_as.matrix import content
from memtrix_as.matrix.chat import MatrixChat
from memtrix_as.matrix.client import Client
from memtrix_as.messages import OutgoingFile, Preview
from memtrix_as.tool import ToolContext

log = logging.getLogger(__name__)

MOST_REACTIONS, MOST_FILES = 3, 10  # of one turn
MOST_EMOJI = 64  # bytes; the longest in use, a couple with two colours of skin, has 35
# One grapheme cluster with something in it that is a picture, a flag or a sign, and no word.
_CLUSTER = regex.compile(r"\X")
_SIGN = regex.compile(r"[\p{Extended_Pictographic}\p{Regional_Indicator}\p{So}\u20e3]")
OFFER = "🚪 Shall **{name}** open a room with you?"
HOW = "React with ✅ or ❌, or answer **yes** or **no**. Or just go on writing."
MANY_REACTIONS = f"You have reacted {MOST_REACTIONS} times to this message; that is enough."
MANY_FILES = (
    f"You have sent {MOST_FILES} files in this turn. Tell the user, who can ask for the rest."
)


class RoomChannel:
    """What `tool.Channel` asks for, over Matrix."""

    def __init__(
        self,
        pool: Pool,
        client: Client,
        chat: MatrixChat,
        config: Config,
        user_of: Callable[[str], str],
    ) -> None:
        self._pool = pool
        self._client = client
        self._chat = chat
        self._most = config.tools.send_size * 1_000_000
        self._seconds = config.limits.approval_timeout
        self._user_of = user_of

    async def offer_room(self, ctx: ToolContext, agent: str, called: str) -> bool:
        if ctx.place.among_agents or not await approvals.is_human(self._pool, ctx.sender):
            return False
        lane = inbox.turns(ctx.place.agent, ctx.place.room_id)
        question = OFFER.format(name=called)
        offering = Offering(ctx.turn_id, ctx.sender, question, HOW, {"agent": agent}, self._seconds)
        await offers.offer(self._pool, lane, ctx.place, offering)
        self._chat.post(lane)
        return True

    async def react(self, ctx: ToolContext, emoji: str) -> None:
        if not ctx.event_id or ctx.place.among_agents:
            raise ToolError("This turn answers no message of a room, so there is none to react to.")
        sign = one_emoji(emoji)
        what = Once(f"reaction {sign}", "reaction", sign, target=ctx.event_id)
        if not await self._place(ctx, what, MOST_REACTIONS):
            raise ToolError(MANY_REACTIONS)

    async def largest(self, ctx: ToolContext) -> int:
        told = await self._client.largest_upload(self._user_of(ctx.place.agent))
        return min(self._most, told or self._most)

    async def send_file(self, ctx: ToolContext, file: OutgoingFile, caption: str = "") -> None:
        if ctx.place.among_agents:
            raise ToolError(
                "Nobody reads along here, so no file can be sent; say what is in it instead."
            )
        # Whatever is uploaded and not sent lies about at the homeserver: look first.
        name = f"file {file.digest}"
        there = await outbox.placed(self._pool, ctx.turn_id, "file")
        if name in there:
            return
        if len(there) >= MOST_FILES:
            raise ToolError(MANY_FILES)
        try:
            url = await self._upload(ctx, file.pieces(), file.size, file.mimetype, file.name)
        except HomeserverError as exc:
            log.warning("A file of %s was not taken: %s", ctx.place.agent, exc)
            raise ToolError(_refused(exc, file.size)) from exc
        info: dict[str, Any] = {"mimetype": file.mimetype, "size": file.size}
        if file.preview:
            info |= {"w": file.preview.size[0], "h": file.preview.size[1]}
            info |= await self._thumbnail(ctx, file.preview)
        body = content.file(
            file.name, url, info, caption, kind=_kind(file), thread=ctx.place.thread
        )
        said = f"{caption}\n[file: {file.name}]".strip()
        if not await self._place(ctx, Once(name, "file", said, content=body), MOST_FILES):
            raise ToolError(MANY_FILES)

    async def _place(self, ctx: ToolContext, what: Once, most: int) -> bool:
        lane = inbox.turns(ctx.place.agent, ctx.place.room_id)
        placed = await outbox.place(self._pool, lane, ctx.place, ctx.turn_id, what, most)
        if placed:
            self._chat.post(lane)
        return placed

    async def _upload(
        self,
        ctx: ToolContext,
        pieces: AsyncGenerator[bytes, None],
        size: int,
        mimetype: str,
        name: str,
    ) -> str:
        user = self._user_of(ctx.place.agent)
        return await self._client.upload(user, pieces, size, mimetype, name)

    async def _thumbnail(self, ctx: ToolContext, preview: Preview) -> dict[str, Any]:
        """What `info` says of the thumbnail; nothing where the homeserver does not take it."""
        data, kind = preview.thumbnail, preview.thumbnail_type
        if not data:
            return {}

        async def whole() -> AsyncGenerator[bytes, None]:
            yield data

        try:
            url = await self._upload(ctx, whole(), len(data), kind, "thumbnail")
        except HomeserverError as exc:
            log.info("A thumbnail was not taken: %s", exc)
            return {}
        width, height = preview.thumbnail_size
        shown = {"mimetype": kind, "size": len(data), "w": width, "h": height}
        return {"thumbnail_url": url, "thumbnail_info": shown}


def one_emoji(text: str) -> str:
    """The emoji that a model gave; ToolError if it is none, or more than one."""
    sign = text.strip()
    if len(sign.encode(errors="replace")) > MOST_EMOJI or not _CLUSTER.fullmatch(sign):
        raise ToolError("Give one emoji, such as 👍. Words belong into your answer.")
    if not _SIGN.search(sign):
        raise ToolError(f"{sign!r} is no emoji. Give one emoji itself, such as 👍.")
    return sign


def _kind(file: OutgoingFile) -> Literal["image", "audio", "video", "file"]:
    """How clients show it; as an image only what was seen to be one."""
    if file.preview:
        return "image"
    if file.mimetype.startswith("audio/"):
        return "audio"
    return "video" if file.mimetype.startswith("video/") else "file"


def _refused(exc: HomeserverError, size: int) -> str:
    if exc.status == 413 or exc.errcode == "M_TOO_LARGE":
        return (
            f"The homeserver takes no file of {size} bytes. Send a smaller one, or tell "
            "the user, who can ask the homeserver's operator for more."
        )
    if exc.status == 429:
        return "The homeserver takes no more files just now. Wait a minute, or tell the user."
    if exc.retryable:
        return (
            f"The homeserver could not take the file ({exc.status or 'no answer'}). Try again "
            "once; if that fails too, tell the user."
        )
    return f"The homeserver did not take the file: {exc} Tell the user."
