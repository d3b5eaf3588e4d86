"""A town for each test: a new database, a fake homeserver, and lines between them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.town import Town
from tests.faults.town import town as founded
from tests.rig.database import Database

SEED = 1


@pytest.fixture
async def town(database: Database, tmp_path: Path) -> AsyncIterator[Town]:
    async with founded(tmp_path, database, SEED) as made:
        yield made
