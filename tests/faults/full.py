"""The workspace is full, by its quota or by a limit of the system; and what must hold of files.

Somebody, as a human with a file manager may, puts a file in that leaves no room, and takes it away
again, with the files that were made until then.
"""

import asyncio
import os
from pathlib import Path

from tests.faults import talk
from tests.faults.town import Town
from tests.faults.verdict import Verdict

LIMIT = 10  # MB of a workspace
BALLAST, TAKEN = "ballast", "taken"
NO_ROOM, WROTE = "There is no room for this in the workspace", "Wrote "


async def fill(town: Town, seconds: float) -> None:
    with (town.workspace / BALLAST).open("wb") as file:
        file.truncate(LIMIT * 1_000_000)  # nothing of it is on the disk
    await asyncio.sleep(seconds)
    os.unlink(town.workspace / BALLAST)
    taken = town.folder / TAKEN
    taken.mkdir(exist_ok=True)
    for file in made(town.workspace):
        file.rename(taken / file.name)


def made(folder: Path) -> list[Path]:
    return sorted(folder.glob("f*m*.txt"))


def refused(town: Town) -> list[str]:
    """Tokens whose file had no room."""
    return [t for t, results in town.mind.told.items() if any(NO_ROOM in r for r in results)]


def files(town: Town, verdict: Verdict, *, processes: int, kills: int) -> None:
    """Each file is whole, and there if the model was told so; no more is there than may be."""
    here, taken = made(town.workspace), made(town.folder / TAKEN)
    whole = set()
    for file in (*here, *taken):
        if file.read_text() == talk.content(file.stem):
            whole.add(file.stem)
        elif file.stat().st_size or not kills:  # a name can be taken when its process dies
            verdict.wrong.append(f"{file.name}: {file.stat().st_size} bytes, not whole")
    for token, results in town.mind.told.items():
        wrote = any(r.startswith(WROTE) for r in results)
        if wrote and token not in whole:
            verdict.wrong.append(f"{token}: the model was told that it is written")
        if results and not wrote and any(NO_ROOM in r for r in results) and token in whole:
            verdict.wrong.append(f"{token}: the model was told that there is no room")
    unfinished = list(town.workspace.glob(".memtrix-*"))
    if len(unfinished) > kills:
        verdict.wrong.append(f"{len(unfinished)} unfinished files after {kills} deaths")
    size = sum(file.stat().st_size for file in here)
    if size > processes * LIMIT * 1_000_000:
        verdict.wrong.append(f"{size} bytes in a workspace of {LIMIT} MB")
