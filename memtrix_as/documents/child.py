"""Runs the programs of this folder: each reads one thing of a stranger's, and can be stopped."""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

from memtrix_as.errors import ToolError

TIME = 30.0  # seconds
_HERE = Path(__file__).parent


async def run(child: str, what: str, source: bytes | int, *arguments: str) -> bytes:
    """What the program says about `source`: bytes, or an open file that it reads itself.

    ToolError, with `what` it is in its text, when that comes to nothing.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", str(_HERE / child), *arguments,
        stdin=asyncio.subprocess.PIPE if isinstance(source, bytes) else source,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env={}, cwd="/",
    )  # fmt: skip
    try:
        async with asyncio.timeout(TIME):
            out, _ = await process.communicate(source if isinstance(source, bytes) else None)
    except TimeoutError:
        raise ToolError(f"The {what} takes too long to read. Use another source.") from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode or not out:
        raise ToolError(f"The {what} is damaged or too large to be read. Use another source.")
    return out
