"""Files and folders of the agent's workspace."""

import asyncio
from collections.abc import Mapping
from typing import Any

from memtrix_as.attachments import Attachments
from memtrix_as.documents import encodings, paging
from memtrix_as.documents.extract import Documents
from memtrix_as.errors import ToolError
from memtrix_as.tool import ToolContext, tool
from memtrix_as.workspace import Workspace, Workspaces
from memtrix_as.workspace.explained import Taken
from memtrix_as.workspace.folder import MOST_COUNTED
from memtrix_as.workspace.paths import parts, shown

MOST_READ = 20_000_000  # bytes of a file that is read
MOST_WRITTEN = 1_000_000  # bytes of a file that is written
MOST_LISTED = 500
APPEARED = (
    "{path} has appeared in the meantime, and the user was not asked about it. If it is to be "
    "replaced, call create_file again: then they are asked."
)


def _workspace(ctx: ToolContext) -> Workspace:
    return ctx.get(Workspaces).of(ctx.place.agent)


def _path(arguments: Mapping[str, Any]) -> str:
    return str(arguments.get("path", ""))


@tool(untrusted=True, repeatable=True, harmless=True)
async def read_file(ctx: ToolContext, path: str, offset: int = 0, limit: int = paging.USUAL) -> str:
    """Read a text file or a PDF in your workspace.

    A long file comes in pieces; the end of each piece says how to read on.

    Args:
        path: the file, counted from your workspace, such as notes/plan.md
        offset: the character to begin at
        limit: how many characters to read, at most 50000
    """
    await ctx.get(Attachments).admit(ctx, path)
    workspace, documents = _workspace(ctx), ctx.get(Documents)
    data, size = await asyncio.to_thread(workspace.read, path, MOST_READ)
    if data.startswith(b"%PDF-"):
        if size > len(data):
            raise ToolError(f"{path} has {_size(size)}; only PDFs up to 20 MB can be read.")
        return documents.page(await documents.pdf(data), offset, limit)
    text = await asyncio.to_thread(encodings.decode, data)
    if text is None:
        raise ToolError(
            f"{path} has {_size(size)} and is neither text nor PDF, so it cannot be read."
        )
    more = f"\n\n(only the first {_size(len(data))} of {_size(size)})" if size > len(data) else ""
    return documents.page(text + more, offset, limit)


async def _overwrites(ctx: ToolContext, arguments: Mapping[str, Any]) -> str | None:
    path = _path(arguments)
    await ctx.get(Attachments).admit(ctx, path)
    workspace = _workspace(ctx)
    if not await asyncio.to_thread(workspace.exists, path):
        return None
    _, size = await asyncio.to_thread(workspace.read, path, 0)
    return f"It replaces the file {path}, which has {_size(size)}, by another of this name."


@tool(alone=True, confirm_if=_overwrites, harmless=True)
async def create_file(ctx: ToolContext, path: str, content: str) -> str:
    """Write a text file in your workspace, with the folders it needs.

    When there is a file of this name, the user is asked first whether it may be replaced.

    Args:
        path: the file, counted from your workspace, such as notes/plan.md
        content: the whole text of the file
    """
    data = content.encode(errors="replace")
    if len(data) > MOST_WRITTEN:
        raise ToolError(f"That is {_size(len(data))}; write files of at most 1 MB.")
    await ctx.get(Attachments).admit(ctx, path)
    workspace = _workspace(ctx)
    try:
        replaced = await asyncio.to_thread(workspace.write, path, data, replace=bool(ctx.agreed))
    except Taken as exc:
        raise ToolError(APPEARED.format(path=shown(path))) from exc
    return f"{'Replaced' if replaced else 'Wrote'} {path}: {_size(len(data))}."


async def _deletes_file(ctx: ToolContext, arguments: Mapping[str, Any]) -> str | None:
    path = _path(arguments)
    await ctx.get(Attachments).admit(ctx, path)
    found = await asyncio.to_thread(_workspace(ctx).look, path)
    if found is None:
        raise ToolError(f"There is no {shown(path)}. list_directory shows what there is.")
    if found.kind == "folder":
        raise ToolError(f"{shown(path)} is a folder. Use delete_directory.")
    what = f"the file {path}, which has {_size(found.size)}" if found.kind == "file" else path
    return f"It deletes {what}. This cannot be undone."


@tool(confirm=True, alone=True, confirm_if=_deletes_file)
async def delete_file(ctx: ToolContext, path: str) -> str:
    """Delete a file in your workspace. The user is asked first.

    Args:
        path: the file, counted from your workspace
    """
    await ctx.get(Attachments).admit(ctx, path)
    await asyncio.to_thread(_workspace(ctx).delete_file, path)
    return f"Deleted {path}."


@tool(alone=True, repeatable=True, harmless=True)
async def create_directory(ctx: ToolContext, path: str) -> str:
    """Make a folder in your workspace, with those above it.

    Args:
        path: the folder, counted from your workspace, such as projects/garden
    """
    made = await asyncio.to_thread(_workspace(ctx).make_folder, path)
    return f"Made the folder {path}." if made else f"The folder {path} was there already."


@tool(untrusted=True, repeatable=True, harmless=True)
async def list_directory(ctx: ToolContext, path: str = "", offset: int = 0) -> str:
    """List the files and folders in a folder of your workspace.

    Args:
        path: the folder, counted from your workspace; empty for the workspace itself
        offset: how many entries to skip, to read on in a large folder
    """
    found = await asyncio.to_thread(_workspace(ctx).entries, path)
    hidden = {known.casefold() for known in await ctx.get(Attachments).hidden(ctx)}
    folder = "/".join(parts(path, root=True))
    entries = [e for e in found if f"{folder}/{e.name}".casefold() not in hidden]
    start = max(offset, 0)
    lines = [_line(e.name, e.kind, e.size) for e in entries[start : start + MOST_LISTED]]
    if not lines:
        return "(nothing there)" if start else "(empty folder)"
    end = start + len(lines)
    if end < len(entries):
        lines.append(f"({end} of {len(entries)} entries; read on with offset={end})")
    return "\n".join(lines)


async def _deletes_folder(ctx: ToolContext, arguments: Mapping[str, Any]) -> str | None:
    path = _path(arguments)
    files, size = await asyncio.to_thread(_workspace(ctx).count, path)
    more = "more than " if files >= MOST_COUNTED else ""
    return f"It deletes the folder {path} with {more}{files} files, {_size(size)}, for good."


@tool(confirm=True, alone=True, confirm_if=_deletes_folder)
async def delete_directory(ctx: ToolContext, path: str) -> str:
    """Delete a folder in your workspace with all that is in it. The user is asked first.

    Args:
        path: the folder, counted from your workspace
    """
    await asyncio.to_thread(_workspace(ctx).delete_folder, path)
    return f"Deleted the folder {path}."


def _line(name: str, kind: str, size: int) -> str:
    """An entry on one line; a name with odd characters is quoted, so that it forges no line."""
    shown = name if name.isprintable() else repr(name)
    ends = {"folder": "/", "link": "  (a link, which is not followed)", "other": "  (no file)"}
    return shown + ends.get(kind, f"  {_size(size)}")


def _size(count: int) -> str:
    """Bytes, as people say it."""
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"
