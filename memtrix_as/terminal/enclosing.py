"""`/attach PATH [words]`: a file from this machine, as the content of a message with a file."""

import asyncio
import io
import mimetypes
import re
import shlex
import stat
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from memtrix_as.errors import AttachmentError

COMMAND = re.compile(r"\s*[/!]attach(?:\s+(?P<rest>.*))?$", re.DOTALL | re.IGNORECASE)
PIECE = 256 * 1024  # bytes that are read at once
HOW = (
    "`/attach PATH` sends a file of this machine, and `/attach PATH words` a file with a question; "
    'a path with spaces stands in "quotation marks".'
)


def enclosed(text: str, most: int) -> dict[str, Any] | None:
    """The content of the message that a line is, when it is the command; else None.

    AttachmentError says why the file cannot be sent; one with more than `most` bytes cannot.
    """
    command = COMMAND.match(text)
    if command is None:
        return None
    # Only the first word is read as a shell would: an apostrophe behind it opens nothing.
    rest = io.StringIO(command["rest"] or "")
    lexer = shlex.shlex(rest, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        named = lexer.get_token()
    except ValueError:
        raise AttachmentError(f"A quotation mark is not closed. {HOW}") from None
    if not named:
        raise AttachmentError(HOW)
    path, size = _file(named)
    if size > most:
        raise AttachmentError(
            f"{path} has {size:,} bytes; at most {most:,} can be sent (limits.attachment_size)."
        )
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return {
        "msgtype": "m.file",
        "body": rest.read().strip() or path.name,
        "filename": path.name,
        "url": path.as_uri(),
        "info": {"mimetype": kind, "size": size},
    }


def _file(named: str) -> tuple[Path, int]:
    try:
        path = Path(named).expanduser().resolve(strict=True)
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a device or a pipe might never end
            raise AttachmentError(f"{path} is no file.")
        path.open("rb").close()
    except (OSError, RuntimeError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise AttachmentError(f"{named} cannot be read: {why}.") from None
    return path, status.st_size


async def pieces(source: str) -> AsyncGenerator[bytes, None]:
    """The bytes of a file by its address; AttachmentError if it is gone meanwhile."""
    path = Path(unquote(urlsplit(source).path))
    try:
        with await asyncio.to_thread(path.open, "rb") as file:
            while piece := await asyncio.to_thread(file.read, PIECE):
                yield piece
    except OSError as exc:
        raise AttachmentError(f"it cannot be read any more: {exc.strerror}") from exc
