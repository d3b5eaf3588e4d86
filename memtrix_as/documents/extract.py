"""The text of a page or a PDF, read by a process of its own that can be stopped."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from memtrix_as.documents import child, paging
from memtrix_as.errors import ToolError


@dataclass(frozen=True, slots=True)
class Page:
    """What a reader sees of a web page; `links` are (text, address)."""

    title: str
    text: str
    links: tuple[tuple[str, str], ...]


class Documents:
    """Reads documents, a few at once: each may take a whole processor and a gigabyte."""

    def __init__(self, redact: Callable[[str], str] = str, at_once: int = 2) -> None:
        self._redact = redact
        self._free = asyncio.Semaphore(at_once)

    def page(self, text: str, offset: int, limit: int) -> str:
        """A piece of a text without secrets, which the border of a piece would else cut in two."""
        return paging.page(self._redact(text), offset, limit)

    async def html(self, text: str, address: str) -> Page:
        """The readable part of a page; ToolError when nothing can be made of it."""
        async with self._free:
            found = await _read("html_child.py", text.encode(errors="replace"), "page", address)
        return Page(found["title"], found["text"], tuple((name, to) for name, to in found["links"]))

    async def pdf(self, data: bytes) -> str:
        """The text of a PDF with page numbers; ToolError when there is none."""
        async with self._free:
            found = await _read("pdf_child.py", data, "PDF")
        if problem := found.get("problem"):
            raise ToolError(f"The PDF {problem}, so its text cannot be read.")
        text, left = str(found.get("text", "")), found["pages"] - found["read"]
        if not text:
            raise ToolError(f"The PDF has {found['pages']} pages without text; it may be a scan.")
        return text + (f"\n\n({left} more pages were not read)" if left else "")


async def _read(program: str, data: bytes, what: str, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await child.run(program, what, data, *arguments))
    return found
