"""Fixtures of the conversations: who is on stage, and the service behind the door."""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from memtrix_as.local.ports import free_port
from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.conduit import ConduitDoor
from tests.rig.database import Database
from tests.rig.door import Door
from tests.rig.embeddings import EmbeddingServer
from tests.rig.homeserver import Homeserver
from tests.rig.human import Human
from tests.rig.management import admins, enter
from tests.rig.service import Process, Service
from tests.rig.settings import DOMAIN, register
from tests.rig.stage import Stage

SYNAPSE = Path(__file__).parents[2] / ".venv-synapse" / "bin" / "python"
KINDS: dict[str, type[Door]] = {"direct": Door, "conduit": ConduitDoor}


@pytest.fixture(scope="session")
async def servers(
    http: aiohttp.ClientSession, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Homeserver, dict[str, Door]]]:
    """One homeserver with two registrations: `direct`, and `conduit` behind its proxy."""
    folder = tmp_path_factory.mktemp("homeserver")
    ports = {"memtrix": free_port(), "cmemtrix": free_port()}
    direct, conduit = (
        register(name, f"http://127.0.0.1:{port}", folder) for name, port in ports.items()
    )
    homeserver = Homeserver(folder, SYNAPSE, [direct, conduit])
    await homeserver.start()
    api = homeserver.api(http)
    doors = {
        "direct": Door(api, direct, DOMAIN, ports["memtrix"]),
        "conduit": ConduitDoor(api, conduit, DOMAIN, ports["cmemtrix"]),
    }
    for door in doors.values():
        await door.open()
    yield homeserver, doors
    for door in doors.values():
        await door.close()
    await homeserver.stop()


@pytest.fixture(scope="session")
async def embeddings() -> AsyncIterator[EmbeddingServer]:
    """A real embedding model, for the tests that ask for it."""
    server = EmbeddingServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(params=list(KINDS))
def mode(request: pytest.FixtureRequest) -> str:
    """Every conversation is held twice; `@only("direct")` holds it once."""
    return str(request.param)


@pytest.fixture
async def stage(
    servers: tuple[Homeserver, dict[str, Door]], postgres: Database, mode: str
) -> AsyncIterator[Stage]:
    homeserver, doors = servers
    stage = Stage(homeserver, postgres, doors[mode])
    yield stage
    await stage.clear()


@pytest.fixture
def door(stage: Stage) -> Door:
    return stage.door


@pytest.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    async with ScriptedModel() as scripted:
        yield scripted


@pytest.fixture
async def person(stage: Stage) -> Callable[..., Awaitable[Human]]:
    """`await person("ann")`: a new human with an account."""
    return stage.person


@pytest.fixture
async def open_chat(stage: Stage) -> Callable[..., Awaitable[Chat]]:
    """`await open_chat(human)`: a direct room with the main agent in it."""
    return stage.chat


@pytest.fixture
async def stopped(stage: Stage, model: ScriptedModel, tmp_path: Path) -> AsyncIterator[Service]:
    """The service, configured and not started: for tests that change settings first."""
    service = Service(tmp_path, stage.door, stage.database.dsn, model.url)
    await stage.door.lead_to(service.url)
    yield service
    await service.stop()


@pytest.fixture
async def service(stopped: Service) -> Service:
    """The service, running in this process."""
    await stopped.start()
    return stopped


@pytest.fixture
async def chat(service: Service, stage: Stage) -> Chat:
    """A human in a direct room with the main agent, and the service running."""
    return await stage.chat()


@pytest.fixture
async def ann(stage: Stage, stopped: Service) -> AsyncIterator[Human]:
    """The administrator of a service that has not started yet."""
    ann = await stage.person("ann")
    admins(stopped, ann)
    yield ann
    await stopped.stop()


@pytest.fixture
async def office(ann: Human, stopped: Service, stage: Stage) -> Chat:
    """The administrator in the management room."""
    await stopped.start()
    return await enter(stage, ann)


@pytest.fixture
async def process(stage: Stage, model: ScriptedModel, tmp_path: Path) -> AsyncIterator[Process]:
    """The service as its own process, running; it can be killed."""
    process = Process(tmp_path, stage.door, stage.database.dsn, model.url)
    await stage.door.lead_to(process.url)
    await process.start()
    yield process
    await process.stop()


@pytest.fixture
async def household(stopped: Service, stage: Stage) -> Chat:
    """A human with the main agent; Dennis, Olga and Paul are there to be asked."""
    for name in ("dennis", "olga", "paul"):
        await stage.second_agent(name)
    await stopped.start()
    return await stage.chat()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Generator[None, Any, Any]:
    """Show a failed test what the service process has logged and what it asked the homeserver."""
    report = yield
    if report.failed:
        for part in getattr(item, "funcargs", {}).values():
            if isinstance(part, Process):
                report.sections.append(("service log", part.text()[-20000:]))
            if isinstance(part, Door):
                report.sections.append(("door", part.picture()))
    return report
