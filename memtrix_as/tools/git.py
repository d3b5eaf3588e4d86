"""Get the files of a public git repository."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from memtrix_as.errors import ToolError
from memtrix_as.outbound.git import Cloned, clone
from memtrix_as.outbound.web import Web
from memtrix_as.tool import ToolContext, tool
from memtrix_as.workspace import Workspaces
from memtrix_as.workspace.paths import safe_name


async def _clones(ctx: ToolContext, arguments: Mapping[str, Any]) -> str | None:
    url, directory = str(arguments.get("url", "")), str(arguments.get("directory", ""))
    target = _target(url, directory)
    await ctx.get(Web).outbound.check(url)
    if await asyncio.to_thread(ctx.get(Workspaces).of(ctx.place.agent).exists, target):
        raise ToolError(f"{target!r} exists already. Choose another directory.")
    return f"It copies the newest files of the repository {url} into the folder {target}."


@tool(confirm=True, alone=True, confirm_if=_clones)
async def git_clone(ctx: ToolContext, url: str, directory: str = "") -> str:
    """Copy the newest files of a public git repository into your workspace.

    The user is asked first. Only the files come, without the history, links, submodules and the
    contents of LFS.

    Args:
        url: the https address of the repository, such as https://example.org/name/project.git
        directory: the new folder, counted from your workspace; empty for the repository's name
    """
    target = _target(url, directory)
    workspace = ctx.get(Workspaces).of(ctx.place.agent)
    with workspace.new_folder(target) as folder:
        cloned = await clone(ctx.get(Web).outbound, url, folder.fd, folder.room)
    return _told(target, cloned)


def _target(url: str, directory: str) -> str:
    if not re.fullmatch(r"https://[^\s?#\\]+/[^\s?#\\]+", url) or len(url) > 1000:
        raise ToolError(
            "Give the https address of a repository, without a query, such as "
            "https://example.org/name/project.git; nothing else can be cloned."
        )
    return directory or safe_name(url.rstrip("/").split("/")[-1].removesuffix(".git"), "repository")


def _told(target: str, cloned: Cloned) -> str:
    out = {
        "links": cloned.links,
        "submodules": cloned.modules,
        "files with names that cannot be kept": cloned.names,
        "files whose contents are in LFS": cloned.lfs,
    }
    left = ", ".join(f"{count} {what}" for what, count in out.items() if count)
    size = f"{cloned.files} files, {cloned.bytes / 1000:.1f} kB"
    return (
        f"Cloned commit {cloned.commit[:12]} into {target}: {size}."
        + (f" Left out: {left}." if left else "")
        + " list_directory shows them."
    )
