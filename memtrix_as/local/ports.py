"""TCP ports on this machine: which are free, and who has those that are not."""

import socket
from pathlib import Path

from memtrix_as.errors import LocalPartError

LISTEN = "0A"  # the state in /proc/net/tcp


def free_port() -> int:
    """A port that is free now; the next moment somebody else may have it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_free(port: int, option: str = "") -> None:
    """LocalPartError names who listens there, and the option that takes another port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OverflowError:
            raise LocalPartError(f"{port} is no port; give one from 1024 to 65535.") from None
        except OSError as exc:
            raise LocalPartError(
                f"Port {port} on this machine cannot be had: {holder(port) or exc.strerror}. "
                f"Stop that, or choose another port{f' with {option}' if option else ''}."
            ) from exc


def holder(port: int) -> str | None:
    """What listens on the port, for a person; None if that cannot be seen from here (Linux)."""
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            cells = line.split()
            if cells[3] == LISTEN and int(cells[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{cells[9]}]")
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) in inodes for fd in (process / "fd").iterdir()):
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                return f"process {process.name} ({' '.join(words)[:80].strip()}) listens there"
        except OSError:  # not ours to look into, or gone
            continue
    return "a process of another account listens there"
