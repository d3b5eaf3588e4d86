"""The registration: what the homeserver must know of us, and the file that tells it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memtrix_as import config
from memtrix_as.config import AppService, Homeserver, Management, Service
from memtrix_as.errors import ConfigError
from memtrix_as.settings import checks, document

FILE = "registration.yaml"


@dataclass(frozen=True)
class Generated:
    """What `generate` did: the file it wrote, and the tokens it put into the configuration."""

    path: Path
    new_tokens: tuple[str, ...]


def generate(config_path: Path, registration_path: Path, new_tokens: bool = False) -> Generated:
    """Write the registration, and tokens into the configuration where it has none.

    Needs the sections `homeserver` and `appservice` only. ConfigError as `config.load`.
    """
    if config_path.resolve() == registration_path.resolve():
        raise ConfigError("The registration and the configuration cannot be the same file.")
    service = config.load_service(config_path, new_tokens)
    # The configuration first: when writing the registration fails, the next run finds the same
    # tokens, whereas a registration with tokens that nobody kept would be useless.
    if service.fresh:
        values = {f"appservice.{name}": token for name, token in service.fresh.items()}
        document.change(config_path, values)
    registration_path.parent.mkdir(parents=True, exist_ok=True)
    document.write(registration_path, build(service), _COMMENT)
    return Generated(registration_path, tuple(service.fresh))


def beside(config_path: Path) -> Path:
    """Where the registration is looked for: in the folder of the configuration."""
    return config_path.absolute().parent / FILE


def agrees(path: Path, service: Service) -> bool | None:
    """Whether a registration that was written is the one of this configuration; None: no file."""
    try:
        return document.read(path) == build(service)
    except ConfigError:
        return None


def text(service: Service) -> str:
    """The registration as YAML, for homeservers that take it as a message."""
    return document.dump(build(service))


def build(service: Service) -> dict[str, Any]:
    """The registration as the homeserver reads it (application service API, "Registration")."""
    appservice = service.appservice
    return {
        "id": appservice.id,
        "url": appservice.address,
        "as_token": appservice.as_token,
        "hs_token": appservice.hs_token,
        "sender_localpart": appservice.sender_localpart,
        "rate_limited": False,  # Synapse: absent means limited
        "receive_ephemeral": False,
        "namespaces": {
            "users": [
                {"exclusive": True, "regex": regex}
                for regex in user_regexes(service.homeserver, appservice)
            ],
            "aliases": [
                {"exclusive": True, "regex": alias_regex(service.homeserver, service.management)}
            ],
            "rooms": [],
        },
    }


def user_regexes(homeserver: Homeserver, appservice: AppService) -> list[str]:
    """Our users, as regular expressions that mean the same to Rust and to Python.

    Anchored at both ends: Conduit searches anywhere in the id, Synapse from its start, and an
    open end would also claim users of `our.domain.evil`.
    """
    domain = re.escape(homeserver.domain)
    names = (
        re.escape(appservice.bot_username),
        checks.username_pattern(appservice.username_template),
    )
    return [f"^@{name}:{domain}$" for name in names]


def alias_regex(homeserver: Homeserver, management: Management) -> str:
    return f"^{re.escape(management_alias(homeserver, management))}$"


def management_alias(homeserver: Homeserver, management: Management) -> str:
    """The full alias of the management room."""
    room = management.room
    return room if ":" in room else f"{room}:{homeserver.domain}"


_COMMENT = """Made by `memtrix-as -g` from the configuration; make it anew rather than editing it.
The two tokens are secrets: whoever has them can act as the agent and all its sub-agents."""
