"""What comes from a package index when it is needed: a virtual environment, a wheel to unpack."""

import asyncio
import contextlib
import re
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from memtrix_as.config import child_environment
from memtrix_as.errors import LocalPartError
from memtrix_as.local.child import spawn
from memtrix_as.local.folder import Lock, Say, private

SYNAPSE = "matrix-synapse==1.163.2"


async def run(command: Sequence[str | Path], say: Say) -> tuple[int, str]:
    """Run it to its end, telling what pip is at; its exit code, and its errors or last lines."""
    child = await spawn(
        command, cwd=Path("/"), env=child_environment(), output=asyncio.subprocess.PIPE
    )
    last: deque[str] = deque(maxlen=6)
    errors: deque[str] = deque(maxlen=3)
    said = 0.0
    output = child.process.stdout
    assert output is not None
    try:
        async for raw in output:
            line = raw.decode(errors="replace").rstrip()
            if not line:
                continue
            last.append(line)
            if re.match("error", line, re.IGNORECASE):
                errors.append(line)
            if told := re.match(r"Collecting ([\w.-]+)", line):
                if time.monotonic() - said > 3:
                    said = time.monotonic()
                    say(f"fetching {told[1]}")
            elif line.startswith("Installing collected packages"):
                say(f"installing {line.count(',') + 1} packages")
        return await child.wait(), "\n".join(errors or last)
    finally:
        if not child.ended:
            await child.stop()


async def pip(python: Path, arguments: Sequence[str | Path], what: str, say: Say) -> None:
    """`pip` as this machine has it configured; LocalPartError with its last lines."""
    options = ("--disable-pip-version-check", "--no-input", "--progress-bar", "off")
    code, text = await run([python, "-m", "pip", *arguments, *options], say)
    if code != 0:
        raise LocalPartError(
            f"pip could not get {what}. Is there a network, and space on the disk? It said:\n{text}"
        )


async def make_venv(folder: Path, say: Say) -> Path:
    """A fresh virtual environment with pip; returns its Python."""
    code, text = await run([sys.executable, "-m", "venv", "--clear", folder], say)
    if code != 0:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise LocalPartError(
            f"Python cannot make virtual environments here; on Debian and Ubuntu: "
            f"apt install python{version}-venv. It said:\n{text}"
        )
    return folder / "bin" / "python"


async def synapse_python(folder: Path, say: Say) -> Path:
    """The Python of an environment that has the Synapse we are written for; made if need be."""
    what = "the development homeserver (Synapse), about 40 MB"
    return await environment(folder, SYNAPSE, what, say)


async def environment(folder: Path, package: str, what: str, say: Say) -> Path:
    """The Python of an environment that has `package`, as NAME==VERSION; made if need be.

    An own environment, because such a server pins libraries that we use in other versions.
    """
    python, stamp = folder / "bin" / "python", folder / "installed"
    name, _, version = package.partition("==")
    if stamp.exists() and stamp.read_text() == package and python.exists():
        return python
    if python.exists():  # made by hand
        code, text = await run(
            [python, "-c", f"import importlib.metadata as m; print(m.version({name!r}))"],
            lambda _: None,
        )
        if code == 0 and text.strip() == version:
            with contextlib.suppress(OSError):  # it may be somebody else's
                stamp.write_text(package)
            return python
    lock = Lock(private(folder.with_name(f"{folder.name}.lock")))
    await lock.take(say)
    try:
        say(f"installing {what}")
        await make_venv(folder, say)
        # Most of what comes with it is never imported; Python compiles the rest when it is.
        await pip(python, ["install", "--no-compile", package], name, say)
        stamp.write_text(package)
    finally:
        lock.release()
        (lock.folder / "lock").unlink(missing_ok=True)
        lock.folder.rmdir()
    return python


async def main(folder: Path) -> None:
    began = time.monotonic()
    try:
        await synapse_python(folder, lambda text: print(f"  {text}", flush=True))
    except LocalPartError as exc:
        sys.exit(str(exc))
    if (took := time.monotonic() - began) > 5:
        print(f"  done in {took:.0f} s")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).absolute()))
