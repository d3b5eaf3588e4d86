"""Our users on a homeserver that does not take everything."""

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from memtrix_as.db import agents
from memtrix_as.db.agents import Agent
from memtrix_as.db.pool import Pool, connect
from memtrix_as.errors import HomeserverError
from memtrix_as.matrix.puppets import Puppets
from tests.rig.bench import MAIN, settle
from tests.rig.database import Database


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await connect(database.dsn)
    yield pool
    await pool.close()


class Server:
    """Takes all but pictures."""

    def __init__(self, status: int) -> None:
        self.status = status

    async def request(self, *_: Any, **__: Any) -> Any:
        return {}

    async def upload(
        self, user: str, pieces: AsyncGenerator[bytes, None], *_: Any, **__: Any
    ) -> str:
        retryable = self.status in (0, 429, 500)
        raise HomeserverError("no", status=self.status, retryable=retryable)


@pytest.mark.parametrize("status", [0, 404, 413, 429, 500])
async def test_an_agent_without_a_picture_is_there_all_the_same(
    pool: Pool, tmp_path: Path, status: int
) -> None:
    await agents.keep_main(pool, Agent("memtrix", MAIN, "Memtrix", True, "m", False, False))
    server: Any = Server(status)
    puppets = Puppets(server, settle(tmp_path), pool, lambda user: b"png")
    await puppets.settle((await agents.load(pool))[0])
    known = (await agents.load(pool))[0]
    assert known.registered and known.shown_name == "Memtrix"
    assert known.avatar == (None if status in (0, 429, 500) else ""), "tried again, or not"
