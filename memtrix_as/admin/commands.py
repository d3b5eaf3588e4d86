"""Every command of the management room, in the order in which `help` shows them."""

from memtrix_as.admin import (
    agents,
    approvals,
    help,
    memory,
    models,
    persona,
    rooms,
    service,
    sessions,
    settings,
    tools,
    usage,
)
from memtrix_as.admin.command import Command, Commands

FILES = (
    help, service, agents, models, rooms, sessions, memory, persona, approvals, tools, usage,
    settings,
)  # fmt: skip

COMMANDS = Commands(
    {
        command.name: command
        for file in FILES
        for command in vars(file).values()
        if isinstance(command, Command)
    }
)
