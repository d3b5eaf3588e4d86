"""The development homeserver: accounts, application services, and what it says when it cannot."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from memtrix_as.errors import LocalPartError
from memtrix_as.local.packages import synapse_python
from memtrix_as.local.ports import check_free, free_port, holder
from memtrix_as.local.synapse import DevSynapse

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
async def python() -> Path:
    return await synapse_python(ROOT / ".venv-synapse", print)


@pytest.fixture(scope="module")
async def server(
    python: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[DevSynapse]:
    folder = tmp_path_factory.mktemp("my homeserver")
    server = DevSynapse(
        folder, port=free_port(), server_name="hs.test", registrations=[], python=python
    )
    async with server:
        yield server


async def test_an_account_is_made_once(server: DevSynapse) -> None:
    assert await server.register_user("alice", "first", admin=True)
    assert not await server.register_user("alice", "second")
    login = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": "alice"},
        "password": "first",
    }
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{server.address}/_matrix/client/v3/login", json=login) as answer,
    ):
        assert (await answer.json())["user_id"] == "@alice:hs.test"


async def test_a_name_that_matrix_forbids_is_told(server: DevSynapse) -> None:
    with pytest.raises(LocalPartError, match="could not be made: User ID can only contain"):
        await server.register_user("Ali ce", "password")


async def test_clients_find_it_by_well_known(server: DevSynapse) -> None:
    url = f"{server.address}/.well-known/matrix/client"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        told = await answer.json(content_type=None)
    assert told["m.homeserver"]["base_url"] == f"http://localhost:{server.port}/"


async def test_strangers_cannot_register(server: DevSynapse) -> None:
    url = f"{server.address}/_matrix/client/v3/register"
    async with aiohttp.ClientSession() as http, http.post(url, json={}) as answer:
        assert answer.status == 403


async def test_a_second_one_is_refused(server: DevSynapse, python: Path) -> None:
    with pytest.raises(LocalPartError, match="in use by another service"):
        await DevSynapse(
            server.folder, port=free_port(), server_name="hs.test", registrations=[], python=python
        ).start()
    with pytest.raises(LocalPartError, match=f"Port {server.port} .* cannot be had: process"):
        await DevSynapse(
            server.folder.with_name("other"), port=server.port, server_name="hs.test",
            registrations=[], python=python,
        ).start()  # fmt: skip


async def test_another_name_needs_another_folder(server: DevSynapse, python: Path) -> None:
    await server.stop()
    try:
        with pytest.raises(LocalPartError, match=r"is called hs\.test for good"):
            await DevSynapse(
                server.folder, port=free_port(), server_name="else.test", registrations=[],
                python=python,
            ).start()  # fmt: skip
    finally:
        await server.start()
    assert not await server.register_user("alice", "third"), "the accounts were not kept"


async def test_why_it_does_not_start_is_told(python: Path, tmp_path: Path) -> None:
    with pytest.raises(LocalPartError, match=r"nothing\.yaml"):
        await DevSynapse(
            tmp_path / "hs", port=free_port(), server_name="hs.test",
            registrations=[tmp_path / "nothing.yaml"], python=python,
        ).start()  # fmt: skip


def test_who_has_a_port_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LocalPartError, match=f"Port {port} .*python"):
            check_free(port)
    assert holder(port) is None
    with pytest.raises(LocalPartError, match="no port"):
        check_free(99999)
