"""Images made small enough for a model or a preview, by a process of its own."""

import asyncio
import json
from dataclasses import dataclass

from memtrix_as.documents import child


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as JPEG or PNG, upright and without metadata; `of` is how large it was."""

    data: bytes
    mimetype: str
    width: int
    height: int
    of: tuple[int, int]


class Images:
    """Reads images, a few at once: each may take a whole processor and a gigabyte."""

    def __init__(self, at_once: int = 2) -> None:
        self._free = asyncio.Semaphore(at_once)

    async def scaled(self, source: bytes | int, max_side: int, max_bytes: int) -> Picture:
        """The image in these bounds, never larger than it was; ToolError when it is none.

        `source` is its bytes or an open file. Pixels and bytes bound it both.
        """
        async with self._free:
            out = await child.run("image_child.py", "image", source, str(max_side), str(max_bytes))
        head, _, data = out.partition(b"\n")
        told = json.loads(head)
        width, height = told["of"]
        return Picture(data, told["mimetype"], told["width"], told["height"], (width, height))
