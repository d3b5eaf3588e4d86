"""The development homeserver: a Synapse on this machine alone, with sqlite, without federation.

For trying Memtrix out and for its tests; `docker-compose.yml` has the homeserver to live with.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp

from memtrix_as.errors import LocalPartError
from memtrix_as.local.child import Child, answers, environment, spawn
from memtrix_as.local.folder import Lock, Say, private, tail, write_private
from memtrix_as.local.ports import check_free

UNLIMITED = {"per_second": 10_000, "burst_count": 10_000}
UNLIMITED_ALL = {
    **dict.fromkeys(
        (
            "rc_message", "rc_registration", "rc_admin_redaction", "rc_joins_per_room",
            "rc_media_create", "rc_room_creation", "rc_user_directory", "rc_reports",
        ),
        UNLIMITED,
    ),
    "rc_login": dict.fromkeys(("address", "account", "failed_attempts"), UNLIMITED),
    "rc_joins": dict.fromkeys(("local", "remote"), UNLIMITED),
    "rc_invites": dict.fromkeys(("per_room", "per_user", "per_issuer"), UNLIMITED),
    "rc_presence": {"per_user": UNLIMITED},
}  # fmt: skip


class DevSynapse:
    """Keeps everything in `folder`, listens on 127.0.0.1:`port`, and dies with us."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        server_name: str,
        registrations: Sequence[Path],
        python: Path,
        say: Say = lambda _: None,
        patience: float = 120.0,
    ) -> None:
        self.folder = folder.absolute()
        self.port = port
        self.server_name = server_name
        self.registrations = [path.absolute() for path in registrations]
        self.python = python.absolute()
        self.address = f"http://127.0.0.1:{port}"
        self.log = self.folder / "synapse.log"
        self.patience = patience
        self._say = say
        self._lock = Lock(self.folder)
        self._child: Child | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Returns when it answers; LocalPartError tells why it does not."""
        private(self.folder)
        await self._lock.take(self._say)
        try:
            check_free(self.port)
            self._configure()
            with (self.folder / "output").open("wb") as output:
                self._child = await spawn(
                    [
                        self.python, "-m", "synapse.app.homeserver",
                        "-c", self.folder / "homeserver.yaml",
                    ],
                    cwd=self.folder, env=environment(), output=output, keep=[self._lock.fd],
                )  # fmt: skip
            await self._ready(self._child)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Safe to call twice."""
        if self._child:
            await self._child.stop()
            self._child = None
        self._lock.release()

    async def ended(self) -> None:
        """Returns when it has ended by itself."""
        if self._child:
            await self._child.wait()

    async def restart(self) -> None:
        """The same server with the same data; reads its registrations again."""
        await self.stop()
        await self.start()

    async def register_user(self, name: str, password: str, *, admin: bool = False) -> bool:
        """Make the account `@name:server_name`; False if there is one of that name already."""
        secret = self._secrets()["registration_shared_secret"]
        url = f"{self.address}/_synapse/admin/v1/register"
        async with aiohttp.ClientSession() as session:
            async with session.get(url) as answer:
                nonce = (await answer.json())["nonce"]
            text = "\0".join((nonce, name, password, "admin" if admin else "notadmin"))
            mac = hmac.new(secret.encode(), text.encode(), hashlib.sha1).hexdigest()
            account = {"nonce": nonce, "username": name, "password": password, "admin": admin}
            async with session.post(url, json=account | {"mac": mac}) as answer:
                told = await answer.json()
                if answer.status == 200:
                    return True
                if told.get("errcode") == "M_USER_IN_USE":
                    return False
                raise LocalPartError(
                    f"The account @{name}:{self.server_name} could not be made: {told.get('error')}"
                )

    def _secrets(self) -> dict[str, str]:
        """Made at the first start and kept, as is the name, which every stored id contains."""
        path = self.folder / "secrets.json"
        if not path.exists():
            names = ("registration_shared_secret", "macaroon_secret_key", "form_secret")
            made = {name: secrets.token_urlsafe(32) for name in names}
            key = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
            write_private(self.folder / "signing.key", f"ed25519 a_dev {key}\n")
            write_private(path, json.dumps(made | {"server_name": self.server_name}))
        kept: dict[str, str] = json.loads(path.read_text())
        if kept["server_name"] != self.server_name:
            raise LocalPartError(
                f"The homeserver in {self.folder} is called {kept['server_name']} for good; give "
                f"{self.server_name} a folder of its own, or use the old name."
            )
        return kept

    def _configure(self) -> None:
        where = self.folder
        kept = {key: value for key, value in self._secrets().items() if key != "server_name"}
        resources = [{"names": ["client"], "compress": False}]
        settings: dict[str, Any] = {
            **kept,
            **UNLIMITED_ALL,
            "server_name": self.server_name,
            "public_baseurl": f"http://localhost:{self.port}/",  # also serves .well-known
            "listeners": [
                {
                    "type": "http", "tls": False, "port": self.port,
                    "bind_addresses": ["127.0.0.1"], "resources": resources,
                }
            ],
            "database": {"name": "sqlite3", "args": {"database": str(where / "homeserver.db")}},
            "media_store_path": str(where / "media"),
            "signing_key_path": str(where / "signing.key"),
            "pid_file": str(where / "pid"),
            "log_config": str(where / "log.yaml"),
            "app_service_config_files": [str(path) for path in self.registrations],
            "enable_registration": False,
            "url_preview_enabled": False,
            "encryption_enabled_by_default_for_room_type": "off",
            "federation_domain_whitelist": [],
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "report_stats": False,
            "presence": {"enabled": False},
            "bcrypt_rounds": 4,  # the passwords that we make are random
            "max_upload_size": "100M",
        }  # fmt: skip
        # JSON is YAML: no template, and no quoting of paths to get wrong.
        write_private(where / "homeserver.yaml", json.dumps(settings, indent=1))
        write_private(where / "log.yaml", json.dumps(self._logging(), indent=1))

    def _logging(self) -> dict[str, Any]:
        handler = {
            "class": "logging.handlers.RotatingFileHandler",
            "filename": str(self.log), "maxBytes": 8 * 2**20, "backupCount": 1, "formatter": "line",
        }  # fmt: skip
        return {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
            "handlers": {"file": handler},
            "root": {"level": "WARNING", "handlers": ["file"]},
        }

    async def _ready(self, child: Child) -> None:
        if not await answers(f"{self.address}/health", child, self.patience):
            said = tail(self.folder / "output") or tail(self.log)
            raise LocalPartError(f"The homeserver in {self.folder} did not come up:\n{said}")
