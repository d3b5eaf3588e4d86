"""A real Synapse that knows both registrations, and accounts for humans on it."""

import json
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from memtrix_as.local.ports import free_port
from memtrix_as.local.synapse import DevSynapse
from tests.rig.api import Api, Json
from tests.rig.settings import DOMAIN

PASSWORD = "a password for tests"


class Homeserver(DevSynapse):
    """Runs in `folder`; `python` is the one of an environment that has Synapse."""

    def __init__(self, folder: Path, python: Path, registrations: Sequence[Json]) -> None:
        paths = []
        for registration in registrations:
            paths.append(folder / f"{registration['id']}.yaml")
            paths[-1].write_text(json.dumps(registration))  # JSON is YAML
        super().__init__(
            folder / "synapse",
            port=free_port(),
            server_name=DOMAIN,
            registrations=paths,
            python=python,
        )

    def api(self, http: aiohttp.ClientSession, token: str | None = None) -> Api:
        return Api(http, self.address, token)

    async def account(self, http: aiohttp.ClientSession, name: str) -> tuple[str, str]:
        """Make an account and log in; returns the user id and an access token."""
        assert await self.register_user(name, PASSWORD), f"there is a {name} already"
        identifier = {"type": "m.id.user", "user": name}
        login = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
        answer = await self.api(http).call("POST", "/login", login)
        return str(answer["user_id"]), str(answer["access_token"])
