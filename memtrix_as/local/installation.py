"""What a quick start keeps in its folder: the configuration, the registration, the account."""

import asyncio
import json
import re
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from memtrix_as.config import child_environment, environment
from memtrix_as.errors import LocalPartError
from memtrix_as.local.child import spawn
from memtrix_as.local.choose import KEY, OURS, Choice
from memtrix_as.local.folder import private, write_private
from memtrix_as.settings import document

DOMAIN = "memtrix.local"
COMMENT = """\
Made by scripts/quickstart for trying Memtrix out on this machine; yours to edit.
config.example.yaml explains every key. The models named openrouter, ollama and small
are chosen anew at each start; set main_agent.model to another one to keep it."""


@dataclass(frozen=True)
class Wishes:
    """What the command line may say; None leaves it as it is, or to us."""

    user: str | None = None
    port: int | None = None
    service_port: int | None = None
    model_port: int | None = None
    model: str | None = None


class Installation:
    """The files below `folder`. Read `settings` after `configure`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.registration = folder / "registration.yaml"
        self.data = private(folder / "data")
        self.log = self.data / "memtrix.log"
        self._notes = self.data / "quickstart.json"
        self.notes: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}

    @property
    def user_id(self) -> str:
        return f"@{self.notes['user']}:{self.settings['homeserver']['domain']}"

    @property
    def bot_id(self) -> str:
        bot = self.settings["appservice"]["bot_username"]
        return f"@{bot}:{self.settings['homeserver']['domain']}"

    @property
    def port(self) -> int:
        return urlsplit(self.settings["homeserver"]["address"]).port or 6167

    @property
    def service_port(self) -> int:
        return int(self.settings["appservice"]["port"])

    def read(self, wishes: Wishes) -> None:
        """Take up what an earlier quick start made; LocalPartError if somebody else made it."""
        if self._notes.exists():
            self.notes = json.loads(self._notes.read_text())
        if self.config.exists():
            if not self.notes:
                raise LocalPartError(
                    f"{self.config} is there and was not made by the quick start. Run that one "
                    f"with `memtrix-as -c {self.config.name}`, or move it away and run this again."
                )
            self.settings = document.read(self.config)
        if wishes.user and self.notes.get("user", wishes.user) != wishes.user:
            raise LocalPartError(
                f"The account here is {self.notes['user']}; leave out --user, or clone Memtrix "
                "anew for another one."
            )
        if not self.notes:
            self.note(user=wishes.user or _user(), password=secrets.token_urlsafe(15))

    def note(self, **values: Any) -> None:
        self.notes |= values
        write_private(self._notes, json.dumps(self.notes, indent=1))

    def model_port(self, wishes: Wishes) -> int:
        """Where the small model answers: as wished, as before, or by default."""
        known = self.settings.get("providers", {}).get("small", {}).get("base_url", "")
        return wishes.model_port or urlsplit(known).port or 29346

    def configure(self, wishes: Wishes, choice: Choice) -> bool:
        """Write config.yaml, or bring it in step; returns whether our choice of model is used."""
        first = not self.settings
        if first:
            document.write(self.config, self._template(choice), COMMENT)
        before = document.read(self.config)
        changes: dict[str, Any] = {}
        ours = before["main_agent"]["model"] in OURS
        if ours:
            changes |= {
                "main_agent.model": choice.name,
                f"providers.{choice.name}": dict(choice.provider),
                f"models.{choice.name}": {"provider": choice.name, **choice.model},
            }
        if wishes.port or first:
            changes["homeserver.address"] = f"http://127.0.0.1:{wishes.port or 6167}"
        if wishes.service_port or first:
            port = wishes.service_port or 29345
            changes |= {
                "appservice.port": port,
                "appservice.address": f"http://127.0.0.1:{port}",
            }
        changes = {key: value for key, value in changes.items() if _at(before, key) != value}
        if changes:
            document.change(self.config, changes)
        self.settings = document.read(self.config)
        return ours

    def _template(self, choice: Choice) -> dict[str, Any]:
        return {
            "homeserver": {"address": "", "domain": DOMAIN, "software": "synapse"},
            "appservice": {
                "address": "",
                "hostname": "127.0.0.1",
                "port": 0,
                "id": "memtrix",
                "bot_username": "memtrix",
                "username_template": "memtrix_{name}",
                "database": "embedded",
            },
            "main_agent": {"name": "Memtrix", "model": choice.name},
            "data_directory": "./data",
            "workspace_directory": "./workspace",
            "agents_directory": "./agents",
            "providers": {},
            "models": {},
            "permissions": {
                "*": "none",
                DOMAIN: "user",
                f"@{self.notes['user']}:{DOMAIN}": "admin",
            },
        }

    async def register(self) -> None:
        """Make the tokens, if need be, and the file that tells the homeserver about us."""
        command = [
            *(sys.executable, "-m", "memtrix_as", "-g"),
            *("-c", str(self.config), "-r", str(self.registration)),
        ]
        child = await spawn(
            command, cwd=self.folder, env=child_environment(), output=asyncio.subprocess.PIPE
        )
        assert child.process.stdout is not None
        text = (await child.process.stdout.read()).decode(errors="replace")
        if await child.wait() != 0:
            raise LocalPartError(f"The registration could not be written:\n{text.strip()}")

    def environment(self) -> dict[str, str]:
        """For the service: this one, with the secrets that config.yaml names, by their names."""
        passed = {key: value for key, value in child_environment().items() if key != KEY}
        names = set(re.findall(r"\$([A-Za-z_]\w*)", json.dumps(self.settings)))
        for name in names:
            for form in (f"MEMTRIX_SECRET_{name}", f"MEMTRIX_SECRET_{name}_FILE"):
                if value := environment(form):
                    passed[form] = value
            if (value := environment(name)) and f"MEMTRIX_SECRET_{name}_FILE" not in passed:
                passed.setdefault(f"MEMTRIX_SECRET_{name}", value)
        return passed


def _user() -> str:
    """The account's name: as on this machine, in letters that Matrix allows."""
    return re.sub(r"[^a-z0-9._=-]", "", (environment("USER") or "").lower()) or "me"


def _at(settings: dict[str, Any], key: str) -> Any:
    at: Any = settings
    for name in key.split("."):
        at = at.get(name) if isinstance(at, dict) else None
    return at
