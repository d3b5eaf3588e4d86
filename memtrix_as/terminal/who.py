"""Whose terminal it is: the human who is taken to sit there, and the room that they are in."""

import hashlib

from memtrix_as.config import Config, role
from memtrix_as.errors import ConfigError
from memtrix_as.messages import AT_TERMINAL
from memtrix_as.settings import checks

NOBODY = (
    "Whose terminal is this? What is said here is remembered as in Matrix, so it needs to know who "
    "you are: set memory.owner in the configuration to your Matrix id, or add --as @you:{domain}."
)
SEVERAL = (
    "Whose terminal is this? permissions names several administrators ({admins}): say which of "
    "them you are with --as, or set memory.owner in the configuration."
)
NO_ACCESS = (
    "permissions gives {human} nothing, so the agent does not talk with them. Add the line "
    '"{human}": user to permissions in the configuration, or choose somebody else with --as.'
)


def human(config: Config, wanted: str | None) -> str:
    """The Matrix id of whoever sits here; ConfigError says how to tell it."""
    domain = config.homeserver.domain
    if wanted is not None:
        try:
            checks.user_id(wanted)
        except ValueError as exc:
            raise ConfigError(f"--as takes a whole Matrix id, such as @you:{domain}.") from exc
    found = wanted or config.memory.owner or _administrator(config)
    if role(config.permissions, found) == "none":
        raise ConfigError(NO_ACCESS.format(human=found))
    return found


def _administrator(config: Config) -> str:
    admins = [who for who, role in config.permissions.items()
              if role == "admin" and who.startswith("@")]  # fmt: skip
    if len(admins) == 1:
        return admins[0]
    if admins:
        raise ConfigError(SEVERAL.format(admins=", ".join(sorted(admins))))
    raise ConfigError(NOBODY.format(domain=config.homeserver.domain))


def room(account: int, human: str, agent: str, use: str, number: int) -> str:
    """A room that no homeserver has: of an account of this machine, for one human and one agent.

    `use` keeps conversations of different kinds apart, `number` terminals that are open at once.
    """
    names = "\0".join((str(account), human, agent, use, str(number)))
    return AT_TERMINAL + hashlib.sha256(names.encode()).hexdigest()[:16]
