"""What commands need besides what turns have, put together."""

from pathlib import Path
from typing import Any

from memtrix_as.admin.command import Commands
from memtrix_as.admin.commands import COMMANDS
from memtrix_as.admin.start import Start
from memtrix_as.config import Config
from memtrix_as.matrix.client import Client
from memtrix_as.matrix.server import Server
from memtrix_as.providers.catalog import Models


def services(client: Client, config: Config, models: Models, path: Path | None) -> dict[type, Any]:
    """What commands ask for, by its type."""
    return {
        Commands: COMMANDS,
        Server: Server(client, config),
        Start: Start(path),
        Models: models,
    }
