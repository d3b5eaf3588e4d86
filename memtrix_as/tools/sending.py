"""What an agent puts into its room besides words: a file, or an emoji on the message."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Mapping
from io import FileIO
from pathlib import PurePosixPath
from typing import Any

from memtrix_as.attachments import Attachments
from memtrix_as.documents import kinds
from memtrix_as.documents.images import Images
from memtrix_as.errors import ToolError
from memtrix_as.messages import OutgoingFile, Preview
from memtrix_as.tool import Channel, ToolContext, tool
from memtrix_as.workspace import Workspaces
from memtrix_as.workspace.paths import safe_name

PIECE = 1 << 20  # bytes that are read at once
MOST_CAPTION = 2_000  # characters
SHOWN = ("image/png", "image/jpeg", "image/gif", "image/webp")  # what every client can show
THUMBNAIL, THUMBNAIL_BYTES = 640, 100_000  # the longest side in pixels, and bytes


async def _can_be_sent(ctx: ToolContext, arguments: Mapping[str, Any]) -> None:
    """Nobody is asked about a file that is not there, or not for those who are present."""
    path = str(arguments.get("path", ""))
    await ctx.get(Attachments).admit(ctx, path)
    with ctx.get(Workspaces).of(ctx.place.agent).opened(path):
        pass


@tool(alone=True, repeatable=True, confirm_if=_can_be_sent)
async def send_file(ctx: ToolContext, path: str, caption: str = "") -> str:
    """Send a file of your workspace into this room. Everyone in the room can open and keep it.

    Images, sound and videos are shown as such, all else as a file to download.

    Args:
        path: the file, counted from your workspace, such as notes/plan.md
        caption: what stands below it; empty for nothing
    """
    channel = _channel(ctx, "files cannot be sent")
    if len(caption) > MOST_CAPTION:
        raise ToolError(
            f"A caption has at most {MOST_CAPTION} characters; this one has {len(caption)}. Say "
            "the rest in your answer."
        )
    await ctx.get(Attachments).admit(ctx, path)
    with ctx.get(Workspaces).of(ctx.place.agent).opened(path) as (file, size):
        most = await channel.largest(ctx)
        if not size:
            raise ToolError(f"{path} is empty, so there is nothing to send.")
        if size > most:
            raise ToolError(
                f"{path} has {size} bytes; files of up to {most} bytes can be sent here."
            )
        name = safe_name(PurePosixPath(path).name, "file")
        outgoing, note = await _outgoing(ctx, file, size, name, caption)
        await channel.send_file(ctx, outgoing, caption)
    return f"Sent {name} ({outgoing.mimetype}, {size} bytes) into the room.{note}"


@tool(alone=True, repeatable=True, harmless=True)
async def react_to_message(ctx: ToolContext, emoji: str) -> str:
    """Put an emoji on the message that you are answering; for a nod that needs no words.

    Args:
        emoji: one emoji itself, such as 👍, and not its name
    """
    await _channel(ctx, "there are no reactions").react(ctx, emoji)
    return f"Reacted with {emoji.strip()}."


def _channel(ctx: ToolContext, lack: str) -> Channel:
    channel: Channel | None = ctx.services.get(Channel)
    if channel is None:
        raise ToolError(f"On this channel {lack}. Say in words what you wanted to show.")
    return channel


async def _outgoing(
    ctx: ToolContext, file: FileIO, size: int, name: str, caption: str
) -> tuple[OutgoingFile, str]:
    """The file as it goes out, and what the model should know of it besides."""
    head, digest = await asyncio.to_thread(_look, file, f"{name}\0{caption}\0")
    kind, note, preview = kinds.kind(head, name), "", None
    if kind in SHOWN:
        try:
            preview = await _preview(ctx, file, size)
        except ToolError:
            kind = kinds.UNKNOWN  # so that no client tries
            note = " It is damaged or too large for an image, so it is shown as a plain file."
    return OutgoingFile(name, kind, size, digest, lambda: _pieces(file, size), preview), note


async def _preview(ctx: ToolContext, file: FileIO, size: int) -> Preview:
    """What clients show of an image; ToolError for one that nobody should try to show."""
    file.seek(0)
    small = await ctx.get(Images).scaled(file.fileno(), THUMBNAIL, THUMBNAIL_BYTES)
    if small.of == (small.width, small.height) and size <= THUMBNAIL_BYTES:
        return Preview(small.of)
    return Preview(small.of, small.data, small.mimetype, (small.width, small.height))


def _look(file: FileIO, salt: str) -> tuple[bytes, str]:
    """The beginning of a file, and a digest of all of it."""
    file.seek(0)
    head = file.read(kinds.HEAD)
    found = hashlib.sha256(salt.encode(errors="replace") + head)
    while piece := file.read(PIECE):
        found.update(piece)
    return head, found.hexdigest()


async def _pieces(file: FileIO, size: int) -> AsyncGenerator[bytes, None]:
    """Its first `size` bytes: it may grow meanwhile."""
    file.seek(0)
    left = size
    while left and (piece := await asyncio.to_thread(file.read, min(PIECE, left))):
        left -= len(piece)
        yield piece
