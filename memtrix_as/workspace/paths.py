"""What a path from a model may look like; pure, nothing here looks at the disk."""

import re
import unicodedata
from pathlib import PurePosixPath

from memtrix_as.errors import PathRefused

CORE = ("AGENT.md", "SOUL.md", "BEHAVIOR.md", "USER.md", "MEMORY.md")
JOURNALS = "memory"
MAX_NAME, MAX_PATH, MAX_DEPTH = 255, 1024, 32  # bytes, bytes, folders

_BIDI = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
_TAKEN = {_plain.casefold() for _plain in CORE}


def parts(path: str, *, root: bool = False) -> tuple[str, ...]:
    """The names of a path below the workspace; `root` lets it be the workspace itself.

    Raises PathRefused for whatever could lead out, mislead a reader, or name what other tools
    look after.
    """
    said = shown(path)
    if len(path.encode(errors="surrogatepass")) > MAX_PATH:
        raise PathRefused(f"The path is longer than {MAX_PATH} bytes. Use a shorter one.")
    if path.startswith("/"):
        raise PathRefused(
            f"{said} is absolute. Paths count from your workspace; write notes/plan.md, say."
        )
    if "\\" in path:
        raise PathRefused(f"{said} has a backslash in it. Use / between folders.")
    if _unreadable(path):
        raise PathRefused("The path has control characters in it. Use letters and digits.")
    names = tuple(name for name in path.split("/") if name not in ("", "."))
    if ".." in names:
        raise PathRefused(f"{said} leads upwards with .. in it. Write the path without.")
    if not names and not root:
        raise PathRefused("The path names no file. Write notes/plan.md, say.")
    if len(names) > MAX_DEPTH:
        raise PathRefused(f"{said} is deeper than {MAX_DEPTH} folders.")
    for name in names:
        if len(name.encode()) > MAX_NAME:
            raise PathRefused(f"A name may have {MAX_NAME} bytes; {shown(name)} has more.")
    _not_taken(names)
    return names


def protected(names: tuple[str, ...]) -> bool:
    """Whether a path means a core file or the journals, as any file system might read it."""
    first = _folded(names[0]) if names else ""
    return first == JOURNALS or (len(names) == 1 and first in _TAKEN)


def shown(text: str) -> str:
    """A path as an error may show it: on one line, and not too long."""
    return repr(text if len(text) <= 120 else text[:117] + "...")


def safe_name(proposed: str, otherwise: str) -> str:
    """A harmless file name made of what a stranger proposes; its ending is kept."""
    name = proposed.replace("\\", "/").split("/")[-1]
    if len(name) > MAX_PATH:  # what follows takes time that grows with its square
        name = name[: MAX_PATH // 2] + name[-MAX_PATH // 2 :]
    name = unicodedata.normalize("NFC", name)
    name = "".join(c if c.isalnum() or c in " ._-()+,@" else "_" for c in name)
    name = re.sub(r"[\s_]+", lambda m: m[0][0] if m[0][0] == "_" else " ", name).strip(" .")
    stem, ending = _split(name)
    while len((stem + ending).encode()) > 120:  # leaves room for what makes it unique
        stem = stem[:-1]
    return stem + ending if stem.strip("_ .") else otherwise


def numbered(name: str, number: int) -> str:
    """The name itself, then `name (2).txt` and so on."""
    if number == 1:
        return name
    stem, ending = _split(name)
    return f"{stem} ({number}){ending}"


def _split(name: str) -> tuple[str, str]:
    ending = PurePosixPath(name).suffix
    if len(ending.encode()) > 20 or ending == name:
        ending = ""
    return name[: len(name) - len(ending)], ending


def _unreadable(path: str) -> bool:
    return bool(_BIDI.search(path)) or any(unicodedata.category(c) in ("Cc", "Cs") for c in path)


def _folded(name: str) -> str:
    """A name without what a file system may ignore: case, width, invisible signs, the end."""
    text = unicodedata.normalize("NFKC", name)
    text = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Mn"))
    return unicodedata.normalize("NFKC", text.casefold()).rstrip(" .").split(":")[0]


def _not_taken(names: tuple[str, ...]) -> None:
    if not protected(names):
        return
    if _folded(names[0]) == JOURNALS:
        raise PathRefused(
            "memory/ holds the journals. Use search_memory, read_memory_file or write_memory_file."
        )
    raise PathRefused(f"{names[0]} is a core file. Use read_core_file or write_core_file.")
