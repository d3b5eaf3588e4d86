"""The service itself: how it is, what it is made of, how to make a copy of all that it knows."""

import platform
import time
from collections.abc import Awaitable, Callable

from memtrix_as import __version__
from memtrix_as.admin.command import Call, command
from memtrix_as.admin.start import Start
from memtrix_as.admin.tables import Cell, block, code, facts, words
from memtrix_as.admin.when import lasting
from memtrix_as.admin.words import amount
from memtrix_as.db import agents, overview
from memtrix_as.errors import HomeserverError
from memtrix_as.matrix.server import Server
from memtrix_as.memory.keeper import Keeper

MEGABYTE = 1_000_000

BACKUP = """\
There is no `backup` command yet. Until there is, this makes a copy by hand; do it while the \
service is stopped, so that all parts belong together:

{database}
2. Copy these folders: {folders}.
3. Copy {config} and the registration. They hold secrets: keep the copy where only you can read it.

To go back, put all of it in its place again and start the service."""
EMBEDDED = "1. Copy the folder {data}, in which the database is."
SERVER = """\
1. Write the database into a file, with its address as it stands in `appservice.database`:

{command}
"""


@command("status", "shows how the service is, and what it is doing")
async def status(call: Call) -> str:
    figures = await overview.figures(call.db)
    start: Start = call.get(Start)
    main = (await agents.load(call.db))[0]
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
        ("failed today", f"{amount(figures.failed, 'answer')}"),
        ("memory", await _memory(call)),
        ("database", f"{figures.size / MEGABYTE:.0f} MB"),
    ]
    return facts(rows)


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
    embedded = config.appservice.database == "embedded"
    data = code(config.data_directory.absolute(), 300)
    command = block('pg_dump --format=custom --file=memtrix.dump "$DATABASE"')
    folders = [config.workspace_directory, config.agents_directory]
    return BACKUP.format(
        database=EMBEDDED.format(data=data) if embedded else SERVER.format(command=command),
        folders=", ".join(code(folder.absolute(), 300) for folder in folders),
        config=code(start.path.absolute(), 300) if start.path else "the configuration",
    )
