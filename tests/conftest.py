"""Fixtures for every test: the event loop's HTTP client and the one database."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from memtrix_as.running import open_many
from tests.rig.database import Database

open_many()  # many tests talk to hundreds at once, and are both ends of that


@pytest.fixture(scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """One client for the whole session, without limits that would hide a hanging request."""
    limits = aiohttp.ClientTimeout(total=None, sock_connect=5)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=limits, connector=connector) as session:
        yield session


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    """The server, with the schema that `alembic upgrade head` makes."""
    folder = tmp_path_factory.mktemp("postgres")
    server = Database(folder / "data")
    await server.start()
    await server.migrate(folder)
    yield server
    await server.stop()


@pytest.fixture
async def database(postgres: Database) -> AsyncIterator[Database]:
    """The database, empty but for its schema."""
    yield postgres
    await postgres.empty()
