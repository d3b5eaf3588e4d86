"""What the wizard has found out so far: settings and secrets, written at the end or not at all."""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from memtrix_as import config
from memtrix_as.config import SECRETS
from memtrix_as.errors import ConfigError
from memtrix_as.local.folder import private, write_private
from memtrix_as.matrix import registration
from memtrix_as.settings import document, editing

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
WHOLE = ("providers", "models", "permissions")  # sections that end with just what the draft has


class Draft:
    """The configuration at `path` as it is to become; `settings` starts as it is now."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.new = not path.exists()
        self.settings: dict[str, Any] = {} if self.new else document.read(path)
        self._secrets: dict[str, str] = {}
        self._before = "" if self.new else path.read_text("utf-8")

    def get(self, *key: str, default: Any = "") -> Any:
        at: Any = self.settings
        for name in key:
            at = at.get(name) if isinstance(at, dict) else None
        return default if at is None else at

    def set(self, *key: str, value: Any) -> None:
        *sections, name = key
        at = self.settings
        for section in sections:
            at = at[section] if isinstance(at.get(section), dict) else at.setdefault(section, {})
        at[name] = value

    def secret(self, name: str, value: str) -> str:
        """Keep a secret under that name; what the configuration says in its place."""
        config.redact.learn(value)
        self._secrets[name] = value
        return f"${name}"

    def reveal(self, value: Any) -> Any:
        """A value as the service will see it: the secret in place of its `$NAME`."""
        if isinstance(value, str) and value.startswith("$"):
            return self._secrets.get(value[1:]) or config.secret(value[1:], self.path)
        return value

    @property
    def secrets(self) -> list[str]:
        """The names of those that will be written."""
        return list(self._secrets)

    def write(self) -> None:
        """Make the files. ConfigError if the service could not use them: then all stays."""
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigError(f"{folder} cannot be made: {exc.strerror}.") from exc
        kept = {name: _content(folder / SECRETS / name) for name in self._secrets}
        try:
            for name, value in self._secrets.items():
                write_private(private(folder / SECRETS) / name, value + "\n")
            self._try(folder)
        except BaseException:
            _put_back(folder / SECRETS, kept)
            raise
        registration.generate(self.path, folder / "registration.yaml")

    def _try(self, folder: Path) -> None:
        """Put the configuration into its place when the service can use it."""
        trial = folder / f".{self.path.name}.trial"
        try:
            document.write_text(trial, self.text())
            # with the tokens, which a registration needs and a whole configuration too
            registration.generate(trial, folder / ".registration.trial")
            config.load(trial)
            document.write_text(self.path, trial.read_text("utf-8"))
        except ConfigError as exc:
            raise ConfigError(str(exc).replace(str(trial), str(self.path))) from None
        finally:
            for path in (trial, folder / ".registration.trial"):
                path.unlink(missing_ok=True)

    def text(self) -> str:
        """config.yaml with its comments; a new one is made of the example."""
        start = _fresh(self.settings) if self.new else self._before
        return editing.merged(start, self.settings, WHOLE, exact=not self.new)


def _content(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _put_back(folder: Path, kept: Mapping[str, str | None]) -> None:
    """Leave secrets as they were before; also the folder, where there was none."""
    for name, text in kept.items():
        if text is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_private(folder / name, text)
    with suppress(OSError):
        folder.rmdir()


def _fresh(settings: Mapping[str, Any]) -> str:
    """The example, with our names where it has its own, so that comments stay with their keys."""
    text = EXAMPLE.read_text("utf-8")
    domain = settings["homeserver"]["domain"]
    admin = next(who for who, role in settings["permissions"].items() if role == "admin")
    text = text.replace("@you:memtrix.local", admin).replace("memtrix.local", domain)
    for name, section in (("my-ollama", "providers"), ("my-model", "models")):
        first = str(next(iter(settings[section])))
        plain = first[0].isalpha() and first.lower() not in ("true", "false", "null")
        ours = first if plain else f'"{first}"'  # 7 is a name too
        text = re.sub(rf"^(\s+){name}:", rf"\g<1>{ours}:", text, flags=re.M)
    if settings.get("search"):
        text = text.replace("# search:\n#   searxng_url", "search:\n  searxng_url")
    return text
