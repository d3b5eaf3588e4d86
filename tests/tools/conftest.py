"""A bench with our tools, and the tests' web server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memtrix_as.outbound.web import Web as Way
from tests.rig.tooling import Bench
from tests.rig.web import Web


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    web = Web()
    await web.start()
    yield web
    await web.stop()


@pytest.fixture
def bench(tmp_path: Path, web: Web) -> Bench:
    return Bench(tmp_path, {Way: Way(web.outbound(), None, None, 100_000)})
