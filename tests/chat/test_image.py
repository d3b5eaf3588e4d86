"""Every command of the image and of docker-compose.yml in order, as user 1000, until it answers.

Not in a container (no engine is at hand): see tests/rig/image.py for what is adapted.
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from memtrix_as.local.child import Child, spawn
from memtrix_as.settings import document
from memtrix_as.testing import ScriptedModel
from tests.rig.image import UID, Image, compose
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage
from tests.test_docker import place, setup

# What the test's homeserver has been told of us, and where it is.
HERE = {
    "homeserver": "address domain software",
    "appservice": "address hostname port id bot_username username_template as_token hs_token",
}


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Made once; its folder can be entered by the image's user."""
    folder = Path(tempfile.mkdtemp(prefix="memtrix-image"))
    folder.chmod(0o755)
    image = Image(folder)
    image.build()
    yield image
    subprocess.run(["chmod", "-R", "u+w", folder], check=True)
    shutil.rmtree(folder)


def onboard(image: Image, service: Service, command: list[str]) -> None:
    """The wizard as in its container, without a person; then what differs from there: ports."""
    folder, given = service.folder, service.settings
    model = given["providers"]["scripted"]["base_url"]
    answers = {
        "user": "ann", "registration": {"how": "later"}, "embeddings": {"how": "none"},
        "providers": {"box": {"type": "openai_compatible", "base_url": model}},
        "models": {"small": {"provider": "box", "model": "scripted"}},
    }  # fmt: skip
    (folder / "secrets").mkdir(exist_ok=True)
    (folder / "secrets/DATABASE_URL").write_text(given["appservice"]["database"] + "\n")
    (folder / "answers.yaml").write_text(json.dumps(answers))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
        if os.getuid() == 0:
            os.chown(path, UID, UID)
    command = [*map(image.at, command), "--no-tests", "--answers", f"{folder}/answers.yaml"]
    done = image.run(command, MEMTRIX_DOMAIN="hs.test")
    assert done.returncode == 0, done.stderr
    config = folder / "config.yaml"
    assert config.stat().st_mode & 0o777 == 0o600
    here = {
        f"{section}.{key}": given[section][key]
        for section, keys in HERE.items()
        for key in keys.split()
    }
    document.change(config, here | {"management.room": given["management"]["room"]})
    if os.getuid() == 0:
        os.chown(config, UID, UID)


@pytest.fixture
async def running(
    image: Image, stage: Stage, model: ScriptedModel, tmp_path: Path
) -> AsyncIterator[Child]:
    """The services' commands in the order in which docker-compose.yml starts them."""
    service = Service(image.folder / "memtrix/config", stage.door, stage.database.dsn, model.url)
    await stage.door.lead_to(service.url)
    clone = place(tmp_path / "clone")
    setup(clone)
    services = compose(clone)["services"]
    await asyncio.to_thread(onboard, image, service, services["setup"]["command"])
    ready = services["conduit-ready"]["command"]
    at = [word.replace("http://conduit:6167", stage.door.address) for word in ready]
    for command in (at, services["migrate"]["command"]):
        done = await asyncio.to_thread(image.run, command)
        assert done.returncode == 0, done.stderr
    with (tmp_path / "log").open("wb") as log:
        child = await spawn(
            image.started(image.command("CMD")), cwd=image.folder / "app",
            env=image.environment, output=log,
        )  # fmt: skip
    watched = (image.command("HEALTHCHECK"), services["memtrix"]["healthcheck"]["test"][1:])
    for command in watched:
        here = [word.replace(":29345", f":{service.port}") for word in command]
        done = await asyncio.to_thread(image.run, [*here, "30"])
        assert done.returncode == 0, done.stderr + (tmp_path / "log").read_text()
    yield child
    if not child.ended:
        await child.stop()


@only("conduit")
async def test_it_answers(image: Image, running: Child, stage: Stage, model: ScriptedModel) -> None:
    chat = await stage.chat()
    model.says("Hello from a container.")
    await chat.send("hello")
    assert await chat.reply() == "Hello from a container."
    # as the image's user it writes where it may, and nowhere else
    workspace = image.folder / "memtrix/workspace"
    assert (workspace / "AGENT.md").stat().st_uid == (UID if os.getuid() == 0 else os.getuid())
    for folder in ("opt", "app", "memtrix/config"):
        written = [p for p in (image.folder / folder).rglob("*") if p.suffix == ".pyc"]
        assert not [p for p in written if p.stat().st_uid == UID]
    assert await running.stop(signal.SIGTERM) == 0


def test_user_1000_cannot_change_the_program(image: Image) -> None:
    assert len(image.built) == 3
    for name in ("opt/memtrix/lib", "app"):
        code = f"open({str(image.folder / name / 'x')!r}, 'w')"
        done = image.run(["python", "-c", code])
        assert done.returncode == 1 and "Permission denied" in done.stderr
    done = image.run(["memtrix-as", "--version"])
    assert done.returncode == 0 and "memtrix-as" in done.stdout
    templates = "import memtrix_as.memory as m, pathlib; print(pathlib.Path(m.__file__).parent)"
    found = Path(image.run(["python", "-c", templates]).stdout.strip())
    assert found.is_relative_to(image.folder) and list(found.glob("templates/*.md"))
