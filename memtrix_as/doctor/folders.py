"""The files and folders: who can read them, whether they can be written, how much room is left."""

import os
import shutil
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import Path

from memtrix_as.config import Config, Service
from memtrix_as.doctor.check import Ailing, Check, Finding
from memtrix_as.foreign import in_thread
from memtrix_as.matrix import registration
from memtrix_as.workspace.quota import Quota

NEARLY = 0.9  # of what a workspace may hold
LITTLE, FULL = 1_000_000_000, 100_000_000  # bytes left on a disk: little, and too little


def checks(config: Config, path: Path) -> Iterator[Check]:
    """`path` is the file of the configuration."""
    service = Service(config.homeserver, config.appservice, config.management)
    file = registration.beside(path)
    folders = {
        "data_directory": config.data_directory,
        "workspace_directory": config.workspace_directory,
        "agents_directory": config.agents_directory,
    }
    yield Check("configuration file", _aside(lambda: _secret(path)))
    yield Check("registration file", _aside(lambda: _registration(file, path, service)))
    yield Check("folders", _aside(lambda: _writable(folders)))
    yield Check("disk", _aside(lambda: _room(folders)))
    yield Check("workspaces", _aside(lambda: _quotas(config)))
    yield Check("time zone", _aside(lambda: _zone(config)))


def _aside(
    look: Callable[[], str | list[Finding]],
) -> Callable[[], Awaitable[str | list[Finding]]]:
    """A disk may hang, as those do that lie in a network."""
    return lambda: in_thread(look)


def _secret(path: Path) -> str:
    """A file with secrets in it is its owner's alone."""
    there = path.stat()
    if others := stat.S_IMODE(there.st_mode) & 0o077:
        who = "everybody" if others & 0o007 else "its group"
        raise Ailing(
            f"{path} holds secrets, and {who} on this machine can open it "
            f"(mode {stat.S_IMODE(there.st_mode):04o})", f"chmod 600 {path}", "warn",
        )  # fmt: skip
    if there.st_uid != os.geteuid() and os.geteuid() != 0:
        raise Ailing(f"{path} belongs to another account than this one",
                     f"chown {os.geteuid()} {path}", "warn")  # fmt: skip
    return f"{path} is readable by its owner alone"


def _registration(file: Path, path: Path, service: Service) -> str:
    anew = f"memtrix-as -g -c {path} -r {file}, and give the file to the homeserver"
    same = registration.agrees(file, service)
    if same is None:
        return f"none at {file}; the homeserver has its own copy"
    if not same:
        raise Ailing(f"{file} is not of this configuration", anew, "warn")
    # The homeserver may have to read it as another account, by a group.
    if file.stat().st_mode & 0o007:
        raise Ailing(f"{file} holds the tokens, and everybody on this machine can open it",
                     f"chmod o= {file}", "warn")  # fmt: skip
    return f"{file} is of this configuration"


def _writable(folders: dict[str, Path]) -> list[Finding]:
    found = []
    for key, folder in folders.items():
        try:
            there = _nearest(folder)
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as exc:
            fix = f"let this account write it (chown {os.geteuid()} {folder}), or change {key}"
            text = f"{key}: {folder} cannot be written ({exc.strerror})"
            found.append(Finding("folders", "fail", text, fix))
    listed = ", ".join(path.name for path in folders.values())
    return found or [Finding("folders", "ok", f"{listed} can be written")]


def _nearest(folder: Path) -> Path:
    """The folder, or the one that it will be made in."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _room(folders: dict[str, Path]) -> str:
    free = {key: shutil.disk_usage(_nearest(folder)).free for key, folder in folders.items()}
    key = min(free, key=lambda key: free[key])
    left = f"{free[key] / 1e9:.1f} GB are free where {folders[key]} is"
    if free[key] < LITTLE:
        state = "fail" if free[key] < FULL else "warn"
        raise Ailing(f"only {left}", f"make room there, or move the folder and change {key}", state)  # type: ignore[arg-type]
    return left


def _quotas(config: Config) -> str | list[Finding]:
    """Whose workspace has little room left within `limits.workspace_size`."""
    most = config.limits.workspace_size * 1_000_000
    if not most:
        return "they have no limit (limits.workspace_size)"
    roots = [config.workspace_directory]
    if config.agents_directory.is_dir():
        roots += sorted(path for path in config.agents_directory.iterdir() if path.is_dir())
    used = {root: Quota(root, most).used() for root in roots}
    nearly = [
        Finding("workspaces", "warn", f"{root} has {size / 1e6:,.0f} of {most / 1e6:,.0f} MB",
                "delete files there, have the agent delete some, or raise limits.workspace_size")
        for root, size in used.items() if size > NEARLY * most
    ]  # fmt: skip
    fullest = max(used.values()) / 1e6
    return nearly or f"the fullest has {fullest:,.1f} of {most / 1e6:,.0f} MB"


def _zone(config: Config) -> str:
    now = datetime.now(config.timezone)
    told = f"{config.timezone}, where it is {now:%H:%M}"
    here = datetime.now().astimezone()
    if here.utcoffset() != now.utcoffset():
        raise Ailing(
            f"{told}; this machine's clock shows {here:%H:%M} ({here.tzname()})",
            "set timezone to yours, such as Europe/Berlin, if agents name wrong times", "warn",
        )  # fmt: skip
    return told
