"""The configuration without its secrets, and what then has to be given anew."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from memtrix_as.config import redact
from memtrix_as.settings import document

COMMENT = """\
The configuration of the backup that was made at {taken}, without secrets and comments.
What has to be given anew:
{needs}"""

_TOKENS = ("appservice.as_token", "appservice.hs_token")
_MAKE = "generate me"
_SECRET = re.compile(r"key|token|secret|passw|credential|auth|cookie", re.IGNORECASE)
# Where keys are free, and so a name is all that tells what a value is.
_FREE = ("providers.", "logging.", "embeddings.")


def without_secrets(path: Path) -> tuple[dict[str, Any], list[str]]:
    """What stands in the file, a reference in place of each secret; and what is to be given.

    The file must have been loaded before: that is how its secrets are known.
    """
    needs: list[str] = []
    values = _Names().cleaned(document.read(path), "", needs)
    return values, needs


class _Names:
    """Names for secrets, none twice."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def cleaned(self, node: Any, at: str, needs: list[str]) -> Any:
        if isinstance(node, Mapping):
            return {
                key: self.cleaned(value, f"{at}.{key}" if at else str(key), needs)
                for key, value in node.items()
            }
        if isinstance(node, list):
            return [self.cleaned(value, f"{at}.{n}", needs) for n, value in enumerate(node)]
        if not isinstance(node, str):
            return node
        if node.startswith("$"):
            needs.append(f"{at}: the secret {node}")
            return node
        if at in _TOKENS:
            needs.append(f"{at}: `memtrix-as -g` makes it")
            return _MAKE
        if not _is_secret(node, at):
            return node
        name = self._name(at)
        needs.append(f"{at}: the secret ${name}")
        return f"${name}"

    def _name(self, at: str) -> str:
        wanted = re.sub(r"\W+", "_", at).upper().strip("_")
        wanted = wanted.removeprefix("PROVIDERS_").removeprefix("APPSERVICE_")
        name, number = wanted, 1
        while name in self._given:
            number += 1
            name = f"{wanted}_{number}"
        self._given.add(name)
        return name


def _is_secret(value: str, at: str) -> bool:
    if at == "appservice.database":
        return value != "embedded"
    named = at.startswith(_FREE) and _SECRET.search(at.partition(".")[2].partition(".")[2] or at)
    return bool(named) or redact(value) != value


def differences(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ, secrets aside."""
    flat_now, flat_then = dict(_flat(now)), dict(_flat(then))
    keys = flat_now.keys() | flat_then.keys()
    return sorted(key for key in keys if flat_now.get(key) != flat_then.get(key))


def _flat(node: Any, at: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _flat(value, f"{at}.{key}" if at else str(key))
    elif at in _TOKENS or (isinstance(node, str) and node.startswith("$")):
        return
    else:
        yield at, node
