"""`memtrix-as restore FILE`: a backup into an empty installation, as a whole or not at all.

The file is checked to its last byte before anything is touched. Then its files are laid down
beside where they belong, the database is filled in one transaction that also notes that they are
still to be put there, and they are. If that is cut short the service does not start, and the
same command goes on.
"""

import argparse
import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from memtrix_as import config, database
from memtrix_as.backup import configuration, files
from memtrix_as.backup.archive import Reader
from memtrix_as.config import Config
from memtrix_as.db import aftermath, copies, restored, workers
from memtrix_as.db.copies import Table
from memtrix_as.db.pool import DOWN, MIGRATIONS, Connection
from memtrix_as.db.restored import Restored
from memtrix_as.errors import BackupError, DatabaseError
from memtrix_as.settings import document

MADE = """\
There was no {path}: it is now as it was when the backup was made, but for secrets.
To be given anew before you run this command once more:
{needs}"""
RESTORED = """\
Restored what {name} had on {taken}: {rows:,} rows and {files:,} files.
At its start the service asks the homeserver what was answered since then, and leaves that alone."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("file", type=Path, help="a file that `memtrix-as backup` wrote")


async def main(options: argparse.Namespace) -> int:
    """Do it; returns the exit status."""
    backup = await asyncio.to_thread(Reader, options.file.absolute())
    try:
        _check_version(backup)
        if not options.config.exists():
            return _give_configuration(backup, options.config)
        settings = config.load(options.config)
        config.setup_logging(settings)
        logging.getLogger().setLevel(logging.WARNING)
        _check_names(backup, settings)
        async with database.opened(settings) as dsn, copies.opened(dsn) as connection:
            print(await _restore(backup, settings, dsn, connection), flush=True)
        _tell_differences(backup, options.config)
    finally:
        backup.close()
    return 0


def _check_version(backup: Reader) -> None:
    known = {path.stem.split("_")[0] for path in MIGRATIONS.glob("[0-9]*.py")}
    if (wanted := backup.manifest.migration) not in known:
        raise BackupError(
            f"{backup.path} was made by Memtrix {backup.manifest.version}, whose database is "
            f"at version {wanted}; this one knows those up to {max(known)}. Restore it with a "
            "newer Memtrix."
        )


def _give_configuration(backup: Reader, path: Path) -> int:
    try:
        with path.open("xb") as file:
            path.chmod(0o600)
            file.write(backup.read("config.yaml"))
    except OSError as exc:
        raise BackupError(f"{path} cannot be written: {exc.strerror}.") from exc
    needs = "\n".join(f"  {line}" for line in backup.manifest.needs) or "  nothing"
    print(MADE.format(path=path, needs=needs), flush=True)
    return 1


def _check_names(backup: Reader, settings: Config) -> None:
    then, now = backup.manifest.bot_username, settings.appservice.bot_username
    if then != now:
        raise BackupError(
            f"The main agent of the backup has the user name {then}, and appservice.bot_username "
            f"says {now}: write {then} there, or its memory would belong to nobody."
        )


def _tell_differences(backup: Reader, path: Path) -> None:
    then = document.parse(backup.read("config.yaml").decode())
    values, _ = configuration.without_secrets(path)
    if keys := configuration.differences(values, then):
        print(f"{path} stays as it is; it differs from the backup's in: {files.shown(keys, 20)}.")


async def _restore(backup: Reader, settings: Config, dsn: str, connection: Connection) -> str:
    if not await restored.lock(connection):
        raise BackupError("Another restore is working on this database.")
    if await workers.served(connection):
        raise BackupError("The service is running. Stop it first: a restore takes its place.")
    before = await restored.read(connection)
    ours = files.folders(settings)
    if before and not before.placed:
        if before.id != backup.manifest.id:
            raise BackupError(
                f"The restore of another backup ({before.taken_at:%Y-%m-%d %H:%M}) was not "
                "finished here. Give that file once more."
            )
        await _finish(connection, dsn, ours)
        return f"Finished the restore of {backup.path} that had been cut short."
    await _check_empty(connection, ours)
    rows, count = await _bring_in(backup, settings, dsn, connection)
    await _finish(connection, dsn, ours)
    taken = backup.manifest.taken_at
    return RESTORED.format(
        name=backup.manifest.bot_username, taken=f"{taken:%Y-%m-%d at %H:%M} UTC", rows=rows,
        files=count,
    )  # fmt: skip


async def _bring_in(
    backup: Reader, settings: Config, dsn: str, connection: Connection
) -> tuple[int, int]:
    """Lay down the files beside their places and fill the database; how many rows and files."""
    ours, count = files.folders(settings), 0
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Files", total=None)
        try:
            for name, root in ours.items():
                count += await asyncio.to_thread(files.stage, backup, name, root)
            return await _load(backup, settings, dsn, connection, progress, task), count
        except BaseException:
            if await _unchanged(connection, backup):
                for root in ours.values():
                    files.unstage(root)
            raise


async def _unchanged(connection: Connection, backup: Reader) -> bool:
    """Whether the database certainly was not filled: else its files are still needed."""
    try:
        now = await restored.read(connection)
    except (*DOWN, DatabaseError):
        return False
    return now is None or now.id != backup.manifest.id


async def _finish(connection: Connection, dsn: str, ours: dict[str, Path]) -> None:
    """Put the files into their places, and let the service begin."""
    for root in ours.values():
        await asyncio.to_thread(files.place, root)
    await database.migrate(dsn)
    await copies.analyze(connection)
    now = await restored.read(connection)
    assert now
    await restored.placed(connection, now)


async def _check_empty(connection: Connection, ours: dict[str, Path]) -> None:
    there = [
        f"{count:,} {what}{'' if count == 1 else 's'}"
        for what, count in await restored.content(connection)
    ]
    for root in ours.values():
        if names := await asyncio.to_thread(files.occupied, root):
            there.append(f"{files.shown(names)} in {root}")
    if there:
        raise BackupError(
            "This installation is in use, and a restore would mix two minds. There is: "
            f"{'; '.join(there)}. Give an empty database and empty folders (appservice.database, "
            "workspace_directory and agents_directory say which). Nothing was changed."
        )


async def _load(
    backup: Reader, settings: Config, dsn: str, connection: Connection, progress: Progress,
    task: Any,
) -> int:  # fmt: skip
    """Fill the database, at the version of the schema that the backup has; returns the rows."""
    async with _at_version(dsn, connection, backup.manifest.migration):
        tables = await _tables(backup, connection)
        total = 0
        async with copies.replacing(connection, tables):
            for stored, table in zip(backup.manifest.tables, tables, strict=True):
                progress.update(task, description=table.name)
                rows = await copies.bring_in(connection, table, _pieces(backup, table.name))
                if rows != stored.rows:
                    raise BackupError(f"The table {table.name} came back with {rows:,} rows.")
                total += rows
            await aftermath.begin(connection, backup.manifest.domain, settings.homeserver.domain)
            taken = backup.manifest.taken_at
            now = await connection.fetchval("select clock_timestamp()")
            await restored.write(connection, Restored(backup.manifest.id, taken, now))
    return total


async def _tables(backup: Reader, connection: Connection) -> list[Table]:
    """What is to be filled, as the backup has it; the database must have just that."""
    there = {table.name: set(table.columns) for table in await copies.tables(connection)}
    stored = {table.name: set(table.columns) for table in backup.manifest.tables}
    for name in sorted(there.keys() | stored.keys()):
        if there.get(name) != stored.get(name):
            raise BackupError(
                f"The table {name} is another in the backup than in the database, where this "
                f"Memtrix has just made version {backup.manifest.migration}. Give it a database "
                "of its own."
            )
    return [Table(t.name, t.columns, t.next) for t in backup.manifest.tables]


async def _pieces(backup: Reader, table: str) -> AsyncIterator[bytes]:
    name, number = f"database/{table}/{{:06}}.gz", 0
    while name.format(number) in backup.members:
        yield await asyncio.to_thread(backup.unpack, name.format(number))
        number += 1


@asynccontextmanager
async def _at_version(dsn: str, connection: Connection, wanted: str) -> AsyncIterator[None]:
    """The empty schema at that version; as it was before if what is done in it fails."""
    before = await restored.revision(connection)
    if before != wanted:
        await database.migrate(dsn, wanted, down=before is not None and before > wanted)
    try:
        yield
    except BaseException:
        if before and before != wanted:
            await database.migrate(dsn, before, down=before < wanted)
        raise
