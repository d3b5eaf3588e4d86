"""`memtrix-as backup FILE`: the whole mind in one file, while the service runs or stands."""

import argparse
import asyncio
import json
import logging
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.console import Console
from rich.progress import Progress

from memtrix_as import __version__, config, database
from memtrix_as.backup import archive, configuration, files
from memtrix_as.config import Config
from memtrix_as.db import copies, restored
from memtrix_as.db.copies import Table
from memtrix_as.db.pool import Connection, check
from memtrix_as.errors import BackupError


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("file", type=Path, help="the file to write")
    parser.add_argument("--replace", action="store_true", help="if there is such a file already")


async def main(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    settings = config.load(options.config)
    config.setup_logging(settings)
    logging.getLogger().setLevel(logging.WARNING)
    path = _free(options.file.absolute(), options.replace)
    async with database.opened(settings) as dsn, copies.opened(dsn) as connection:
        await check(connection)
        with closing(archive.Writer(path)) as writer:
            done = await fill(writer, connection, settings, options.config, options.replace)
    print(done, flush=True)
    return 0


def _free(path: Path, replace: bool) -> Path:
    if path.exists() and not replace:
        raise BackupError(f"{path} is there already. Choose another name, or add --replace.")
    return path


async def fill(
    writer: archive.Writer, connection: Connection, settings: Config, path: Path, replace: bool
) -> str:
    """Put everything in; `path` is the configuration's. Returns what is to be told."""
    taken = datetime.now(UTC)
    head = {
        "format": archive.FORMAT, "version": __version__, "id": str(uuid4()),
        "taken_at": taken.isoformat(), "migration": await restored.revision(connection),
        "bot_username": settings.appservice.bot_username, "domain": settings.homeserver.domain,
    }  # fmt: skip
    writer.add(archive.HEAD, json.dumps(head).encode(), mtime=taken.timestamp())
    values, needs = configuration.without_secrets(path)
    comment = configuration.COMMENT.format(
        taken=taken.isoformat(timespec="seconds"), needs="\n".join(f"  {n}" for n in needs) or "  -"
    )
    writer.add("config.yaml", archive.text(values, comment), mtime=taken.timestamp())
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Files", total=None)
        # The rows as they are now, then the files: a file comes after the row that tells of it,
        # and goes after it. So whatever the rows name is there, unless it was just taken back.
        async with copies.snapshot(connection):
            taken_files = await asyncio.to_thread(_take_files, writer, settings)
            found = await copies.tables(connection)
            rows = []
            for table in found:
                progress.update(task, description=table.name)
                rows.append(await _take_table(writer, connection, table))
    manifest = {**head, "tables": rows, "needs": needs}
    await asyncio.to_thread(writer.finish, manifest, replace=replace)
    told = [
        f"Wrote {writer.path}: {writer.size / 1e6:,.1f} MB with {sum(r['rows'] for r in rows):,} "
        f"rows and {taken_files.files:,} files ({taken_files.bytes / 1e6:,.1f} MB).",
        "It holds all that was said, so keep it where only you can read it. It holds no secrets: "
        f"keep {path} and the registration apart from it.",
    ]
    if left := taken_files.left_out:
        told.append(f"Left out, being links or no files: {files.shown(left)}.")
    return "\n".join(told)


def _take_files(writer: archive.Writer, settings: Config) -> files.Taken:
    done = files.Taken()
    ours = files.folders(settings)
    apart = [*ours.values(), settings.data_directory]
    for name, root in ours.items():
        files.take(writer, name, root, files.under(root, iter(apart)), done)
    return done


async def _take_table(
    writer: archive.Writer, connection: Connection, table: Table
) -> dict[str, Any]:
    piece, number = bytearray(), 0

    async def put() -> None:
        nonlocal number
        name = f"database/{table.name}/{number:06}.gz"
        await asyncio.to_thread(writer.pack, name, bytes(piece))
        piece.clear()
        number += 1

    async def take(data: bytes) -> None:
        piece.extend(data)
        if len(piece) >= archive.PIECE:
            await put()

    count = await copies.out(connection, table, take)
    await put()
    return {
        "name": table.name, "columns": list(table.columns), "next": dict(table.next),
        "rows": count, "pieces": number,
    }  # fmt: skip
