"""Docker without Docker: what Compose makes of our file, what `scripts/setup` makes, the lint.

No engine is at hand, so no container has been started here: docs/install.md says the same.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from ruamel.yaml import YAML

from memtrix_as.config import child_environment
from memtrix_as.doctor.database import VECTOR
from memtrix_as.local import healthy
from memtrix_as.local.child import spawn
from memtrix_as.local.ports import free_port
from tests.rig.image import ROOT, UID, Step, compose, context, steps
from tests.rig.searxng import installed, own

ONCE = {"migrate", "conduit-ready", "setup"}  # these end, and are healthy by having ended well
NO_HEALTHCHECK = ONCE | {"conduit"}  # nothing but Conduit is in its image; conduit-ready looks
SECRETS = [
    "config/secrets/DATABASE_URL",
    "secrets/CONDUIT_REGISTRATION_TOKEN",
    "secrets/POSTGRES_PASSWORD",
    "secrets/conduit.env",
    "secrets/searxng.env",
]


def place(folder: Path) -> Path:
    """What of a clone the set-up needs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("scripts", "deploy"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "docker-compose.yml", folder)
    return folder


def setup(folder: Path, *more: str, status: int = 0) -> str:
    told = subprocess.run(
        ["./scripts/setup", "--no-build", *more], cwd=folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert told.returncode == status, told.stdout + told.stderr
    return told.stdout + told.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = place(tmp_path_factory.mktemp("compose") / "memtrix")
    setup(folder)
    return folder


@pytest.fixture(scope="module")
def services(made: Path) -> dict[str, Any]:
    return dict(compose(made)["services"])


# --- scripts/setup -----------------------------------------------------------------------------


def test_setup_makes_what_compose_needs_and_says_so(tmp_path: Path) -> None:
    folder = place(tmp_path / "a")
    said = setup(folder)
    for name in ("config", "workspace", "agents", "data/conduit", "data/memtrix", *SECRETS):
        assert f"made {name}:" in said
        path = folder / name
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
        assert path.stat().st_uid == (os.getuid() or UID)
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600
    values = {(folder / name).read_text().strip() for name in SECRETS}
    assert not [value for value in values if value in said]


def test_setup_changes_nothing_the_second_time(tmp_path: Path) -> None:
    folder = place(tmp_path / "a")
    setup(folder)
    before = {name: (folder / name).read_text() for name in (*SECRETS, ".env")}
    said = setup(folder)
    assert before == {name: (folder / name).read_text() for name in before}
    assert "made " not in said and "wrote " not in said and "stays" in said
    other = place(tmp_path / "b")
    setup(other)
    for name in SECRETS:  # none comes from a shipped default
        assert (other / name).read_text() != before[name]
        assert len((other / name).read_text()) > 40


def test_the_secrets_fit_together(made: Path) -> None:
    url, password, token, conduit, searxng = (
        (made / SECRETS[at]).read_text().strip() for at in (0, 2, 1, 3, 4)
    )
    assert url == f"postgresql://memtrix:{password}@postgres/memtrix"
    assert conduit == f"CONDUIT_REGISTRATION_TOKEN={token}"
    assert re.fullmatch(r"SEARXNG_SECRET=\w{48}", searxng)
    assert len({password, token, searxng}) == 3


def test_what_setup_is_told(tmp_path: Path) -> None:
    folder = place(tmp_path)
    setup(folder, "--domain", "home.arpa", "--port", "7777")
    assert "MEMTRIX_PORT=7777" in (folder / ".env").read_text()
    assert "changed MEMTRIX_PORT" in setup(folder, "--port", "8888")
    assert "changed MEMTRIX_DOMAIN" in setup(folder, "--domain", "other.arpa")
    (folder / "data/conduit/LOCK").touch()  # now there is a homeserver of that name
    assert "for good" in setup(folder, "--domain", "third.arpa", status=1)
    assert "a number" in setup(folder, "--port", "80a", status=2)
    (folder / "secrets/POSTGRES_PASSWORD").unlink()
    assert "is gone" in setup(folder, status=1)
    read = compose(folder)["services"]["conduit"]
    assert read["ports"][0]["published"] == "8888"
    assert read["environment"]["CONDUIT_SERVER_NAME"] == "other.arpa"


def test_onboard_wants_setup_first(tmp_path: Path) -> None:
    told = subprocess.run(
        ["./scripts/onboard"], cwd=place(tmp_path), capture_output=True, text=True, check=False
    )
    assert told.returncode == 1 and "scripts/setup first" in told.stderr


# --- docker-compose.yml ------------------------------------------------------------------------


def test_pgvector_is_one_that_the_doctor_is_content_with(services: dict[str, Any]) -> None:
    version = re.search(r":(\d+)\.(\d+)\.(\d+)-pg", services["postgres"]["image"])
    assert version and tuple(map(int, version.groups())) >= VECTOR


def test_images_are_pinned(services: dict[str, Any]) -> None:
    images = {service["image"] for service in services.values()}
    assert all(re.search(r":v?\d+\.\d+\.\d+|:local$", image) for image in images), images
    assert {service["image"] for service in services.values() if "build" in service} == {
        "memtrix-as:local"
    }


def test_the_database_is_as_new_as_the_doctor_wants(services: dict[str, Any]) -> None:
    version = re.match(r"pgvector/pgvector:(\d+)\.(\d+)\.(\d+)-pg", services["postgres"]["image"])
    assert version and tuple(map(int, version.groups())) >= VECTOR


def test_every_service_is_hardened_and_limited(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service
        limits = service["deploy"]["resources"]["limits"]
        assert limits["cpus"] and limits["memory"] and limits["pids"], name
    assert {name for name, service in services.items() if service.get("cap_add")} == {"postgres"}
    assert {name for name, service in services.items() if not service.get("read_only")} == {
        "searxng"
    }
    rootless = {name for name, service in services.items() if service.get("user")}
    assert rootless == set(services) - {"postgres"}


def test_health_is_looked_after_and_waited_for(services: dict[str, Any]) -> None:
    without = {
        name
        for name, service in services.items()
        if service.get("healthcheck", {"disable": True}).get("disable")
    }
    assert without == NO_HEALTHCHECK
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            ends = "service_completed_successfully" if other in ONCE else "service_healthy"
            begun = "service_started"
            assert how["condition"] == (begun if other == "conduit" else ends), (name, other)
        assert service["restart"] == ("no" if name in ONCE else "unless-stopped"), name
    assert set(services["memtrix"]["depends_on"]) == {
        "postgres", "migrate", "conduit-ready", "searxng",
    }  # fmt: skip


def test_only_conduit_is_published_and_only_here(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    (port,) = published.pop("conduit")
    assert not published
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "6167", 6167)


def test_who_reaches_whom(made: Path, services: dict[str, Any]) -> None:
    networks = compose(made)["networks"]
    on = {
        name: {s for s, service in services.items() if name in service["networks"]}
        for name in networks
    }
    assert on == {
        "outside": {"memtrix", "setup", "searxng"},
        "homeserver": {"memtrix", "setup", "conduit", "conduit-ready"},
        "database": {"memtrix", "setup", "migrate", "postgres"},
        "search": {"memtrix", "setup", "searxng"},
        "door": {"conduit"},
    }
    assert {name for name, network in networks.items() if network.get("internal")} == {
        "homeserver", "database", "search",
    }  # fmt: skip
    option = "com.docker.network.bridge.enable_ip_masquerade"
    assert networks["door"]["driver_opts"] == {option: "false"}
    assert services["memtrix"]["extra_hosts"] == ["host.docker.internal=host-gateway"]


def test_the_agent_sees_no_secret_of_others(made: Path, services: dict[str, Any]) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name in SECRETS:
        assert (made / name).read_text().strip() not in text
    assert "secrets" not in services["memtrix"] and "environment" not in services["memtrix"]
    mounted = {
        (Path(volume["source"]).name, volume.get("read_only", False))
        for volume in services["memtrix"]["volumes"]
    }
    assert mounted == {
        ("config", True), ("workspace", False), ("agents", False), ("memtrix", False),
    }  # fmt: skip


def test_conduit_is_told_what_it_needs(services: dict[str, Any]) -> None:
    told = services["conduit"]["environment"]
    assert told["CONDUIT_CONFIG"] == "" and told["CONDUIT_ADDRESS"] == "0.0.0.0"
    assert told["CONDUIT_PORT"] == "6167" and told["CONDUIT_ALLOW_FEDERATION"] == "false"
    assert len(told["CONDUIT_REGISTRATION_TOKEN"]) == 48
    assert told["CONDUIT_DATABASE_PATH"].rstrip("/") == (
        services["conduit"]["volumes"][0]["target"].rstrip("/")
    )


# --- the image ---------------------------------------------------------------------------------


def test_the_dockerfile_is_what_it_promises() -> None:
    build, last = steps()
    assert build[0].text == "python:3.13-slim AS build" and last[0].text == "python:3.13-slim"
    found = {step.name: step.text for step in last}
    assert found["USER"] == "1000:1000" and found["ENTRYPOINT"] == '["tini", "--"]'
    assert {"HEALTHCHECK", "STOPSIGNAL", "CMD"} <= set(found)
    (packages,) = re.findall(r"--no-install-recommends ([\w ]+?) +&&", found_run(last))
    assert packages == "tini"  # no curl, no wget, no git
    assert "download.pytorch.org/whl/cpu" in " ".join(step.text for step in build)


def test_the_dockerfile_passes_its_linter() -> None:
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    linter = shutil.which("hadolint", path=beside)
    assert linter, "pip install -e '.[test]' brings it"
    told = subprocess.run(
        [linter, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout


def found_run(stage: list[Step]) -> str:
    return " ".join(step.text for step in stage if step.name == "RUN")


def test_nothing_private_gets_into_the_image(tmp_path: Path) -> None:
    context(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "pyproject.toml", "README.md", "config.example.yaml", "memtrix_as", "migrations",
    }  # fmt: skip


async def test_searxng_takes_our_settings(made: Path, http: aiohttp.ClientSession) -> None:
    """The real one, started as in its container: our file, the secret from the environment."""
    python, port = await installed(), free_port()
    name, _, secret = (made / "secrets/searxng.env").read_text().strip().partition("=")
    env = child_environment() | own(made) | {
        name: secret, "SEARXNG_SETTINGS_PATH": str(made / "deploy/searxng.yml"),
        "SEARXNG_PORT": str(port), "SEARXNG_BIND_ADDRESS": "127.0.0.1",
    }  # fmt: skip
    with (made / "searxng.log").open("wb") as log:
        child = await spawn([python, "-m", "searx.webapp"], cwd=made, output=log, env=env)
    url = f"http://127.0.0.1:{port}/healthz"
    try:
        assert await asyncio.to_thread(healthy.main, [url, "60"]) == 0
        query = {"q": "x", "format": "json", "engines": "currency"}
        async with http.get(f"http://127.0.0.1:{port}/search", params=query) as answer:
            assert answer.status == 200 and "results" in await answer.json()
    finally:
        await child.stop()
    assert healthy.main([url]) == 1
    settings = YAML(typ="safe").load(made / "deploy/searxng.yml")
    assert "secret_key" not in settings["server"]
