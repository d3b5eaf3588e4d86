"""What every step of the wizard works with."""

from dataclasses import dataclass, field

from memtrix_as.terminal.asking import Asker
from memtrix_as.terminal.draft import Draft


@dataclass
class Wizard:
    """One run of it; what steps find out for later ones is kept here."""

    asker: Asker
    draft: Draft
    compose: bool  # the other services are those of docker-compose.yml
    tries: bool  # things are tried out
    matrix: bool = True  # else the terminal alone
    listed: dict[str, list[str]] = field(default_factory=dict)  # the models of each provider
    account: dict[str, str] = field(default_factory=dict)  # how to register, decided before
    made_password: str = field(default="", repr=False)
