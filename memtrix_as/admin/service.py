"""The service itself: how it is, what it is made of, how to make a copy of all that it knows."""

import asyncio
import platform
import shlex
import time
from collections.abc import Awaitable, Callable, Sequence

from memtrix_as import __version__
from memtrix_as.admin.command import Call, command
from memtrix_as.admin.start import Start
from memtrix_as.admin.tables import Cell, block, code, facts, words
from memtrix_as.admin.when import lasting
from memtrix_as.admin.words import amount, shares
from memtrix_as.db import agents, overview, workers
from memtrix_as.db.agents import Agent
from memtrix_as.errors import HomeserverError
from memtrix_as.matrix.server import Server
from memtrix_as.memory.keeper import Keeper
from memtrix_as.workspace import Workspaces

MEGABYTE = 1_000_000

BACKUP = """\
On the machine that I run on, this writes all that the agents know into one file, while I go on:

{command}

In it are the database, {folders}, and the settings without secrets. Keep {config} and the \
registration apart from it: they hold the secrets. The file holds all that was said, so keep it \
where only you can read it.

To go back, stop me, give an empty database and empty folders, and run the same with `restore`."""


@command("status", "shows how the service is, and what it is doing")
async def status(call: Call) -> str:
    figures = await overview.figures(call.db)
    processes = await workers.processes(call.db)
    start: Start = call.get(Start)
    known = await agents.load(call.db)
    main = known[0]
    doing = [
        (figures.running, "answer is being worked on", "answers are being worked on"),
        (figures.parked, "waits for a yes (`approvals`)", "wait for a yes (`approvals`)"),
        (figures.waiting, "thing waits to be begun", "things wait to be begun"),
        (figures.unsent, "message waits for the homeserver", "messages wait for the homeserver"),
    ]
    said = [f"{count:,} {one if count == 1 else more}" for count, one, more in doing if count]
    rows: list[tuple[str, object]] = [
        ("version", __version__),
        ("running for", lasting(time.monotonic() - start.at)),
        ("main agent", Cell(f"{words(main.display_name)}, with {code(main.model)}")),
        ("has", f"{amount(figures.agents, 'agent')} in {amount(figures.rooms, 'room')}"),
        ("doing", Cell("; ".join(said) or "nothing")),
        ("worked on by", f"{processes} process{'es' * (processes != 1)}"),
        ("failed today", f"{amount(figures.failed, 'answer')}"),
        ("memory", await _memory(call)),
        ("database", f"{figures.size / MEGABYTE:.0f} MB"),
        ("fullest workspace", await _fullest(call, known)),
    ]
    return facts(rows)


async def _fullest(call: Call, known: Sequence[Agent]) -> Cell:
    workspaces: Workspaces = call.get(Workspaces)
    quotas = [workspaces.of(agent.name).quota for agent in known]
    used = await asyncio.to_thread(lambda: [quota.used() for quota in quotas])
    most, agent = max(zip(used, known, strict=True), key=lambda each: each[0])
    return Cell(f"{words(agent.display_name)}, {shares(most, quotas[0].most)}")


async def _memory(call: Call) -> Cell:
    keeper: Keeper = call.get(Keeper)
    progress, turns = await keeper.progress()
    text = amount(progress.total, "passage")
    if turns:
        text += f", {amount(turns, 'turn')} still to be indexed"
    if not keeper.embedders:
        return Cell(f"{text}; searched by words alone (`embeddings.model` is none)")
    if progress.done < progress.total:
        text += f", {progress.done:,} of them with a vector"
    if keeper.trouble:
        return Cell(f"{text}; searched by words alone: {words(keeper.trouble, 200)}")
    return Cell(text)


@command("version", "shows what runs here, from Memtrix to the homeserver", commits=True)
async def version(call: Call) -> str:
    server: Server = call.get(Server)
    postgres, vector, schema = await overview.versions(call.means.pool)
    rows = [
        ("Memtrix", __version__),
        ("Python", platform.python_version()),
        ("PostgreSQL", postgres),
        ("pgvector", vector),
        ("migration", schema),
        ("homeserver", await told(server.version)),
    ]
    return facts(rows)


async def told(ask: Callable[[], Awaitable[str | None]]) -> str:
    """What the homeserver answers, or why it does not."""
    try:
        return await ask() or "yes"
    except HomeserverError as exc:
        return f"❌ {exc}"


@command("backup", "tells how to make a copy of all that the agents know")
async def backup(call: Call) -> str:
    config = call.means.config
    start: Start = call.get(Start)
    path = shlex.quote(str(start.path.absolute())) if start.path else "config.yaml"
    folders = [config.workspace_directory, config.agents_directory]
    return BACKUP.format(
        command=block(f"memtrix-as backup memtrix.backup -c {path}"),
        folders=" and ".join(code(folder.absolute(), 300) for folder in folders),
        config=code(start.path.absolute(), 300) if start.path else "the configuration",
    )
