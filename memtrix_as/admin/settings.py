"""The configuration: who may do what, whether the file is sound, and the registration."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from memtrix_as import config
from memtrix_as.admin.command import Call, command
from memtrix_as.admin.service import told
from memtrix_as.admin.start import Start
from memtrix_as.admin.tables import Cell, block, code, facts, table
from memtrix_as.config import Config, Role, Service
from memtrix_as.errors import ConfigError
from memtrix_as.matrix import registration as made
from memtrix_as.matrix.server import Server
from memtrix_as.settings import document

MAY: dict[Role, str] = {
    "none": "nothing; invitations are declined",
    "user": "chat, invite agents, say yes to what their own messages led to",
    "admin": "all that, say yes for others too, and give commands here",
}
WHO = {"*": "everybody else"}

# What the homeserver knows of us: a change is nothing until it has the new registration.
REGISTERED = {
    "homeserver.domain", "appservice.address", "appservice.id", "appservice.bot_username",
    "appservice.username_template", "appservice.as_token", "appservice.hs_token",
    "management.room",
}  # fmt: skip
HIDDEN = "hidden here"


@command("permissions", "shows who may do what")
async def permissions(call: Call) -> str:
    roles = call.means.config.permissions

    def rank(who: str) -> tuple[int, str]:
        return (2 if who == "*" else 1 if not who.startswith("@") else 0), who

    rows = [
        (Cell(WHO[who]) if who in WHO else code(who), roles[who], Cell(MAY[roles[who]]))
        for who in sorted(roles, key=rank)
    ]
    shown = table(("who", "role", "may"), rows)
    return (
        f"{shown}\n\nA full id counts before its domain, and that before everybody. They stand in "
        "`permissions` of the configuration; a change counts after a restart."
    )


@command("config check", "reads the configuration anew, and tells what a restart would change")
async def check(call: Call) -> str:
    start: Start = call.get(Start)
    if start.path is None:
        return "This process does not know the file that it was configured with."
    try:
        found = await asyncio.to_thread(config.load, start.path)
    except ConfigError as exc:
        problems = "\n".join(line.strip() for line in str(exc).splitlines())
        return (
            "❌ The file has problems. What runs now is not touched by them, but would not start "
            f"again:\n\n{block(problems)}"
        )
    changed = list(changes(call.means.config, found))
    if not changed:
        return f"✅ {code(start.path, 300)} is fine, and what runs is what stands there."
    listed = "\n".join(f"- {code(key, 120)}" for key in changed)
    known = [key for key in changed if key in REGISTERED]
    more = (
        f"\n\nThe homeserver needs a new registration for {', '.join(map(code, known))}: write it "
        "with `memtrix-as -g` and give it to the homeserver before the restart."
        if known
        else ""
    )
    return (
        f"✅ {code(start.path, 300)} is fine. What has changed since the start counts after a "
        f"restart:\n\n{listed}{more}"
    )


def changes(old: Any, new: Any, at: str = "") -> Iterator[str]:
    """The dotted names of what is different, never with its value."""
    if is_dataclass(old) and type(old) is type(new):
        for field in fields(old):
            key = f"{at}.{field.name}" if at else field.name
            yield from changes(getattr(old, field.name), getattr(new, field.name), key)
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            if name not in old or name not in new:
                yield f"{at}.{name}"
            else:
                yield from changes(old[name], new[name], f"{at}.{name}")
    elif old != new:
        yield at


@command(
    "registration",
    "shows whether the homeserver knows us as we are, and the registration without its tokens",
    commits=True,
)
async def registration(call: Call) -> str:
    settings = call.means.config
    server: Server = call.get(Server)
    start: Start = call.get(Start)
    rows = [
        ("main agent", await _known(server, server.bot)),
        ("the service's own user", await _known(server, server.sender)),
        ("the homeserver reaches us", await told(server.reach)),
        ("file", await asyncio.to_thread(_file, settings, start.path)),
    ]
    body = made.build(_service(settings)) | {"as_token": HIDDEN, "hs_token": HIDDEN}
    return f"{facts(rows)}\n\n{block(document.dump(body), 'yaml')}"


async def _known(server: Server, user: str) -> Cell:
    async def ask() -> str:
        found = await server.whoami(user)
        return "✅ known" if found == user else f"❌ the homeserver takes us for {found}"

    return Cell(f"{code(user)} {await told(ask)}")


def _file(settings: Config, path: Path | None) -> Cell:
    """Whether the registration beside the configuration is the one of this configuration."""
    if path is None:
        return Cell("unknown")
    file = made.beside(path)
    shown = code(file, 300)
    same = made.agrees(file, _service(settings))
    if same is None:
        return Cell(f"none is at {shown}; `memtrix-as -g` writes one")
    if same:
        return Cell(f"✅ {shown}")
    return Cell(f"❌ {shown} is not of this configuration; `memtrix-as -g` writes it anew")


def _service(settings: Config) -> Service:
    return Service(settings.homeserver, settings.appservice, settings.management)
