"""Fixtures at the terminal: a scripted model, and an installation without a homeserver."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.database import Database
from tests.rig.terminal import Installation, Terminal


@pytest.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    async with ScriptedModel() as scripted:
        yield scripted


@pytest.fixture
async def installation(
    database: Database, model: ScriptedModel, tmp_path: Path
) -> AsyncIterator[Installation]:
    made = Installation(tmp_path, database.dsn, model.url)
    yield made
    await made.close()


@pytest.fixture
async def terminal(installation: Installation) -> Terminal:
    """Ann at a prompt."""
    return await installation.sit_down()
