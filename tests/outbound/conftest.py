"""The tests' web server."""

from collections.abc import AsyncIterator

import pytest

from tests.rig.web import Web


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    web = Web()
    await web.start()
    yield web
    await web.stop()
