"""Fetches one commit of a git repository, without git: two requests of the guarded client.

The smart HTTP protocol, version 0: https://git-scm.com/docs/http-protocol and pack-protocol.
None of git's own machinery is there that could run something, read a configuration, ask for a
password or go elsewhere.
"""

import asyncio
import json
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from memtrix_as.errors import BadStatus, OutboundError, TooLarge, Unreachable
from memtrix_as.outbound.client import Answer, Limits, Outbound

REFS = Limits(total=30, size=8_000_000)
PACK = Limits(idle=60, total=180, size=50_000_000, redirects=0)
WRITING = 90.0  # seconds
MOST_ROOM = 100_000_000 + 5_000 * 4096  # bytes: what the child writes at most, in whole blocks
NO_ROOM = (
    "The repository cannot be cloned: its files need more than the {room:,.1f} MB that are left in "
    "the workspace. Delete what is not needed any more, or have an administrator raise "
    "limits.workspace_size."
)
_SERVICE = "/info/refs?service=git-upload-pack"
_CHILD = Path(__file__).with_name("git_child.py")


@dataclass(frozen=True, slots=True)
class Cloned:
    """What was written, and what was left out."""

    commit: str
    files: int
    bytes: int
    links: int
    modules: int
    names: int
    lfs: int


async def clone(
    outbound: Outbound, url: str, folder: int, room: Callable[[int], int] = lambda most: most
) -> Cloned:
    """Write the files of the repository's HEAD into the open folder; OutboundError if not.

    `room` tells, in a thread, how many bytes may be written there, up to what it is asked for.
    """
    try:
        async with outbound.request(url.rstrip("/") + _SERVICE, REFS) as answer:
            base = str(answer.url).removesuffix(_SERVICE)
            commit, offered = _head(url, [line async for line in _lines(answer)])
    except BadStatus as exc:
        if exc.status in (401, 403, 404):
            raise BadStatus(f"There is no public repository at {url}.", exc.status) from exc
        raise
    if base == str(answer.url) or not {"shallow", "side-band-64k"} <= offered:
        raise Unreachable(f"{url} is no git repository that can be fetched over HTTP.")
    with _disk(), tempfile.TemporaryFile() as pack:
        await _fetch(outbound, base, commit, offered, pack)
        pack.seek(0)
        told = await _write(commit, pack, folder, await asyncio.to_thread(room, MOST_ROOM))
    return Cloned(commit=commit, **told)


@contextmanager
def _disk() -> Iterator[None]:
    """What goes wrong with our own disk or machine, told; the network tells for itself."""
    try:
        yield
    except OSError as exc:
        why = os.strerror(exc.errno) if exc.errno else "it took too long"
        raise OutboundError(f"The repository cannot be kept on this machine: {why}.") from exc


def _head(url: str, lines: list[bytes]) -> tuple[str, set[str]]:
    """The commit to fetch, and what the server is able to do."""
    refs: dict[str, str] = {}
    offered: set[str] = set()
    for line in lines:
        ref, _, able = line.partition(b"\0")
        offered |= set(able.decode(errors="replace").split())
        if found := re.fullmatch(rb"([0-9a-f]{40}) (\S+)\s*", ref):
            refs[found[2].decode(errors="replace")] = found[1].decode()
    names = ["HEAD", "refs/heads/main", "refs/heads/master"]
    names += [name for name in refs if name.startswith("refs/heads/")]
    commit = next((refs[name] for name in names if name in refs), None)
    if commit is None:
        raise Unreachable(f"{url} is no git repository, or an empty one.")
    return commit, offered


async def _fetch(
    outbound: Outbound, base: str, commit: str, offered: set[str], pack: IO[bytes]
) -> None:
    # thin-pack, because some servers insist; for one who has nothing yet, no pack is thin
    able = {"side-band-64k", "ofs-delta", "no-progress", "thin-pack"}
    wanted = " ".join(sorted(able & offered))
    body = _line(f"want {commit} {wanted}\n") + _line("deepen 1\n") + b"0000" + _line("done\n")
    kind = {"Content-Type": "application/x-git-upload-pack-request"}
    acknowledged = False
    request = outbound.request(f"{base}/git-upload-pack", PACK, body=body, headers=kind)
    async with request as answer:
        async for line in _lines(answer):
            if not acknowledged:
                acknowledged = line.startswith((b"NAK", b"ACK"))
                if line.startswith(b"ERR"):
                    raise Unreachable("The git server refused to send the repository.")
            elif line[:1] == b"\x01":
                pack.write(line[1:])
            elif line[:1] == b"\x03":
                raise Unreachable("The git server broke off with an error.")
    if not acknowledged:
        raise Unreachable("The git server did not send the repository.")


async def _write(commit: str, pack: IO[bytes], folder: int, room: int) -> dict[str, int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", str(_CHILD), commit, str(folder), str(room), stdin=pack,
        pass_fds=(folder,), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env={}, cwd="/",
    )  # fmt: skip
    try:
        async with asyncio.timeout(WRITING):
            out, _ = await process.communicate()
    except TimeoutError:
        raise TooLarge("The repository is too large to be unpacked.") from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode or not out:
        raise OutboundError("The repository is damaged, or too large to be unpacked.")
    told: dict[str, Any] = json.loads(out)
    if told.get("full"):
        raise TooLarge(NO_ROOM.format(room=room / 1e6))
    if problem := told.get("problem"):
        raise TooLarge(f"The repository cannot be cloned: {problem}.")
    return told


def _line(text: str) -> bytes:
    return f"{len(text) + 4:04x}{text}".encode()


async def _lines(answer: Answer) -> AsyncIterator[bytes]:
    """The lines of git's protocol, each with its length before it; flushes are left out."""
    buffer = bytearray()
    async for piece in answer.pieces():
        buffer += piece
        while len(buffer) >= 4:
            if not re.fullmatch(rb"[0-9a-fA-F]{4}", buffer[:4]):
                raise Unreachable(f"{answer.url.host} does not speak git's protocol.")
            length = int(buffer[:4], 16)
            if length < 4:
                del buffer[:4]
            elif len(buffer) < length:
                break
            else:
                yield bytes(buffer[4:length])
                del buffer[:length]
    if buffer:
        raise Unreachable(f"{answer.url.host} broke off in the middle. Try again.")
