"""The newcomer's way, as a newcomer goes it: a clone, one command, an answer over Matrix."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from memtrix_as.local.packages import synapse_python
from memtrix_as.local.ports import free_port, holder
from memtrix_as.local.small_model import fetch_weights

ROOT = Path(__file__).parents[1]


def clone(folder: Path) -> None:
    """The files as they are now, committed or not, and nothing that a running service wrote."""
    names = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(names, cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


async def end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        await process.wait()


class Quickstart:
    """`scripts/quickstart` in a clone, with what is installed here instead of a new .venv."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = [free_port(), free_port(), free_port()]
        self._environment = {
            **{key: value for key, value in os.environ.items() if "SECRET" not in key},
            "MEMTRIX_VENV": sys.prefix,
            "USER": "jane",
        }
        self._environment.pop("OPENROUTER_API_KEY", None)

    async def begin(self, *options: str, model: str = "small") -> asyncio.subprocess.Process:
        names = ("--port", "--service-port", "--model-port")
        ports = [text for name, port in zip(names, self.ports, strict=True)
                 for text in (name, str(port))]  # fmt: skip
        return await asyncio.create_subprocess_exec(
            "scripts/quickstart", *ports, *options, "--model", model,
            "--synapse-venv", ROOT / ".venv-synapse",
            cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    async def run(self, *options: str, model: str = "small") -> tuple[int, str]:
        process = await self.begin(*options, model=model)
        try:
            text, _ = await asyncio.wait_for(process.communicate(), 180)
        finally:
            await end(process)
        assert process.returncode is not None
        return process.returncode, text.decode()

    def leftovers(self) -> list[str]:
        return [text for port in self.ports if (text := holder(port))]


@pytest.fixture(scope="module")
async def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Quickstart:
    folder = tmp_path_factory.mktemp("a clone", numbered=False)
    await asyncio.to_thread(clone, folder)
    await synapse_python(ROOT / ".venv-synapse", print)
    weights = await fetch_weights(ROOT / "data" / "models", print)
    models = folder / "data" / "models"
    models.mkdir(parents=True)
    os.link(weights, models / weights.name)
    return Quickstart(folder)


@pytest.fixture(autouse=True)
def nothing_is_left(quickstart: Quickstart) -> Iterator[None]:
    yield
    assert quickstart.leftovers() == []


async def until_running(process: asyncio.subprocess.Process) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(60):
        while raw := await process.stdout.readline():
            lines.append(raw.decode())
            if raw.startswith(b"Stop: Ctrl-C"):
                return lines
    raise AssertionError("".join(lines))


async def test_a_taken_port_is_told_before_anything_starts(quickstart: Quickstart) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", quickstart.ports[0])
    async with server:
        code, text = await quickstart.run("--once")
    assert code == 1
    assert f"Port {quickstart.ports[0]} " in text and f"process {os.getpid()} " in text
    assert "--port NUMBER" in text and "Traceback" not in text


async def test_it_ends_with_an_answer(quickstart: Quickstart) -> None:
    code, text = await quickstart.run("--once")
    assert code == 0, text
    answer = re.search(r"^jane: hello\nMemtrix: (\S.*)$", text, re.MULTILINE)
    assert answer, text
    assert f"Homeserver: http://localhost:{quickstart.ports[0]}" in text
    notes = json.loads((quickstart.folder / "data" / "quickstart.json").read_text())
    assert notes["password"] not in text
    assert notes["room"].startswith("!")


async def test_a_second_run_keeps_the_account_and_stops_on_ctrl_c(quickstart: Quickstart) -> None:
    kept = (quickstart.folder / "data" / "quickstart.json").read_text()
    process = await quickstart.begin()
    try:
        lines = await until_running(process)
        assert (quickstart.folder / "data" / "quickstart.json").read_text() == kept
        assert "jane: hello\n" not in lines, "it was proven already"
        # A second one beside it is refused, and does no harm.
        code, text = await quickstart.run("--once")
        assert code == 1 and f"in use by another service (process {process.pid})" in text
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(15):
            assert await process.wait() == 0
    finally:
        await end(process)
