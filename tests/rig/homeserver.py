"""A real Synapse with both registrations, on loopback, without limits on the rate of anything."""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import signal
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from memtrix_as.local.child import Child, spawn
from memtrix_as.local.postgres import free_port
from tests.rig.api import Api, Json
from tests.rig.settings import DOMAIN

FREE = {"per_second": 10000, "burst_count": 10000}
LIMITS = {
    "rc_message": FREE,
    "rc_registration": FREE,
    "rc_login": {"address": FREE, "account": FREE, "failed_attempts": FREE},
    "rc_joins": {"local": FREE, "remote": FREE},
    "rc_joins_per_room": FREE,
    "rc_invites": {"per_room": FREE, "per_user": FREE, "per_issuer": FREE},
    "rc_admin_redaction": FREE,
    "rc_media_create": FREE,
    "rc_room_creation": FREE,
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"level": "WARNING", "handlers": ["out"]},
}


class Homeserver:
    """Runs in `folder`; `python` is the one of an environment that has Synapse."""

    def __init__(self, folder: Path, python: Path, registrations: Sequence[Json]) -> None:
        self.folder, self.python, self.registrations = folder, python, registrations
        self.url = f"http://127.0.0.1:{free_port()}"
        self.domain = DOMAIN
        self._secret = secrets.token_hex(16)
        self._child: Child | None = None

    async def start(self, http: aiohttp.ClientSession) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        # JSON is YAML, and Synapse reads either.
        (self.folder / "homeserver.yaml").write_text(json.dumps(self._settings()))
        (self.folder / "log.yaml").write_text(json.dumps(LOGGING))
        key = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        (self.folder / "signing.key").write_text(f"ed25519 a_test {key}\n")
        for registration in self.registrations:
            self._file(registration).write_text(json.dumps(registration))
        command = [self.python, "-m", "synapse.app.homeserver"]
        with (self.folder / "synapse.log").open("ab") as log:
            self._child = await spawn(
                [*command, "-c", self.folder / "homeserver.yaml"], cwd=self.folder, output=log
            )
        await self._ready(http)

    async def stop(self) -> None:
        if self._child:
            await self._child.stop(signal.SIGTERM)

    def api(self, http: aiohttp.ClientSession, token: str | None = None) -> Api:
        return Api(http, self.url, token)

    async def register(self, http: aiohttp.ClientSession, name: str) -> tuple[str, str]:
        """Make an account; returns its user id and an access token."""
        api = self.api(http)
        nonce = (await api.call("GET", "/_synapse/admin/v1/register"))["nonce"]
        text = "\0".join([nonce, name, "password", "notadmin"])
        mac = hmac.new(self._secret.encode(), text.encode(), hashlib.sha1).hexdigest()
        account = {"nonce": nonce, "username": name, "password": "password", "mac": mac}
        made = await api.call("POST", "/_synapse/admin/v1/register", {**account, "admin": False})
        return str(made["user_id"]), str(made["access_token"])

    def _file(self, registration: Json) -> Path:
        return self.folder / f"{registration['id']}.yaml"

    def _settings(self) -> Json:
        listener = {
            "port": int(self.url.rsplit(":", 1)[1]),
            "bind_addresses": ["127.0.0.1"],
            "type": "http",
            "tls": False,
            "resources": [{"names": ["client"], "compress": False}],
        }
        return {
            "server_name": self.domain,
            "public_baseurl": f"{self.url}/",
            "listeners": [listener],
            "database": {"name": "sqlite3", "args": {"database": str(self.folder / "hs.db")}},
            "media_store_path": str(self.folder / "media"),
            "pid_file": str(self.folder / "pid"),
            "log_config": str(self.folder / "log.yaml"),
            "signing_key_path": str(self.folder / "signing.key"),
            "registration_shared_secret": self._secret,
            "macaroon_secret_key": secrets.token_hex(16),
            "form_secret": secrets.token_hex(16),
            "report_stats": False,
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "federation_domain_whitelist": [],
            "presence": {"enabled": False},
            "bcrypt_rounds": 4,
            "encryption_enabled_by_default_for_room_type": "off",
            "app_service_config_files": [str(self._file(r)) for r in self.registrations],
            **LIMITS,
        }

    async def _ready(self, http: aiohttp.ClientSession) -> None:
        assert self._child
        while True:
            try:
                async with http.get(f"{self.url}/health") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            log = self.folder / "synapse.log"
            assert not self._child.ended, f"Synapse ended:\n{log.read_text()[-3000:]}"
            await asyncio.sleep(0.05)
