"""`memtrix-as journal`: journals out into a folder of YYYY-MM-DD.md, and in again."""

import argparse
import codecs
import logging
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from memtrix_as import config, database
from memtrix_as.config import Config
from memtrix_as.db import agents, owner
from memtrix_as.db.agents import Agent
from memtrix_as.db.journals import Entry
from memtrix_as.db.pool import Pool, check, connect
from memtrix_as.errors import ConfigError, JournalError, ModelError
from memtrix_as.memory import embedder, index
from memtrix_as.memory.journal_text import audience, cut, escaped, mark_of, render, unescaped
from memtrix_as.memory.journals import Journals
from memtrix_as.settings import checks

LARGEST = 16 << 20  # bytes of one file

_NAME = re.compile(r"\d{4}-\d\d-\d\d\.md")


@dataclass(frozen=True)
class Means:
    """What reading and writing journals takes."""

    config: Config
    pool: Pool
    journals: Journals
    agent: Agent
    progress: Progress


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("action", choices=("export", "import"))
    parser.add_argument("folder", type=Path, help="the folder of YYYY-MM-DD.md")
    parser.add_argument("--agent", help="whose journals; the main agent's if it is left out")
    parser.add_argument(
        "--for", action="append", dest="people", metavar="@USER:SERVER", default=[],
        help="who may know imported text that does not say so itself; again for more of them, or "
        "`everyone`; the owner if it is left out",
    )  # fmt: skip


async def main(options: argparse.Namespace) -> int:
    """Do it; returns the exit status: 1 when a file could not be read."""
    settings = config.load(options.config)
    config.setup_logging(settings)
    logging.getLogger().setLevel(logging.WARNING)
    folder, people = _folder(options), known_to(options.people)
    async with opened(settings, options.agent) as means:
        if options.action == "export":
            return await _export(means, folder)
        known = people or await owner_of(means)
        wrong = await bring_in(means, folder, known)
        await embed(means)
        return wrong


def known_to(given: Sequence[str]) -> tuple[str, ...]:
    """The people whom `--for` names; JournalError for what is nobody's name."""
    named = []
    for who in given:
        try:
            named.append("*" if who == "everyone" else checks.user_id(who))
        except ValueError as exc:
            raise JournalError(f"--for {who}: expected @user:server, or everyone.") from exc
    return audience(named)


def _folder(options: argparse.Namespace) -> Path:
    """The folder, which an export makes."""
    folder: Path = options.folder
    if folder.exists() and not folder.is_dir():
        raise JournalError(f"{folder} is not a folder.")
    if options.action == "import" and not folder.exists():
        raise JournalError(f"There is no folder {folder}.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise JournalError(f"{folder} cannot be made ({exc.strerror}).") from exc
    return folder


@asynccontextmanager
async def opened(settings: Config, name: str | None) -> AsyncIterator[Means]:
    """The database, for the journals of the agent with this name; None for the main one's."""
    async with database.opened(settings) as dsn:
        pool = await connect(dsn)
        try:
            await check(pool)
            # Before the service has run for the first time there is no agent yet.
            await agents.keep_main(pool, agents.main(settings))
            agent = await _agent(pool, name)
            with Progress(console=Console(stderr=True), transient=True) as progress:
                yield Means(settings, pool, Journals(pool, settings), agent, progress)
        finally:
            await pool.close()


async def _agent(pool: Pool, name: str | None) -> Agent:
    everyone = await agents.load(pool)
    if name is None:
        return everyone[0]
    for agent in everyone:
        if name.casefold() in {x.casefold() for x in (agent.name, agent.display_name)}:
            return agent
        if name == agent.user_id:
            return agent
    names = ", ".join(agent.name for agent in everyone)
    raise JournalError(f"There is no agent {name!r}. There are: {names}.")


async def owner_of(means: Means) -> tuple[str, ...]:
    """Who may know what does not say so itself: the owner, everybody while there is none."""
    found = means.config.memory.owner or await owner.get(means.pool)
    return (found,) if found else ("*",)


async def _export(means: Means, folder: Path) -> int:
    days = await means.journals.days(means.agent.name, None)
    task = means.progress.add_task("Writing", total=len(days))
    written = 0
    for day in days:
        found = await means.journals.read(means.agent.name, day, None)
        safe = [_escaped(entry) for entry in found.entries]
        try:
            written += _write(folder / f"{day.isoformat()}.md", render(day, safe, mark_of))
        except OSError as exc:
            raise JournalError(f"{folder}: {day} cannot be written ({exc.strerror}).") from exc
        means.progress.advance(task)
    same = len(days) - written
    _say(
        f"Exported {_count(len(days), 'day')} of {means.agent.name} to {folder}: "
        f"{written} written, {same} unchanged."
    )
    return 0


def _escaped(entry: Entry) -> Entry:
    return Entry(
        entry.section, escaped(entry.text), entry.people, entry.room_id, entry.messages,
        entry.events, entry.author, created_at=entry.created_at,
    )  # fmt: skip


def _write(path: Path, text: str) -> bool:
    """Whether the file was not that already; a crash leaves the old one or the new one."""
    data = text.encode()
    try:
        if path.read_bytes() == data:
            return False
    except FileNotFoundError:
        pass
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".memtrix-")
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return True


async def bring_in(means: Means, folder: Path, people: tuple[str, ...]) -> int:
    """Read a folder of days in, and tell of it; returns the exit status."""
    days, passed, wrong = days_of(folder)
    counts: Counter[str] = Counter()
    task = means.progress.add_task("Reading", total=len(days))
    for day, path in days:
        try:
            entries = _entries(_text(path), day, people)
        except JournalError as exc:
            wrong.append(f"{path.name}: {exc}")
        else:
            if entries:
                change = await means.journals.bring_in(means.agent.name, day, entries)
                counts["days"] += 1
                counts["changed"] += bool(change.added or change.removed)
                counts["added"] += change.added
                counts["removed"] += change.removed
            else:
                passed.append(f"{path.name} (empty)")
        means.progress.advance(task)
    if passed:
        _say(f"Passed over: {', '.join(passed)}")
    for problem in wrong:
        print(problem, file=sys.stderr)
    if not days:
        raise JournalError(f"{folder} has no file named as a day, such as 2026-03-18.md.")
    _say(
        f"Imported {_count(counts['days'], 'day')} for {means.agent.name} from {folder}: "
        f"{_count(counts['added'], 'entry', 'entries')} new, {counts['removed']} taken out, "
        f"{_count(counts['days'] - counts['changed'], 'day')} unchanged."
    )
    return 1 if wrong else 0


def days_of(folder: Path) -> tuple[list[tuple[date, Path]], list[str], list[str]]:
    """The files of days; what else there is; and what is wrong."""
    days, passed, wrong = [], [], []
    for path in sorted(folder.iterdir()):
        if not _NAME.fullmatch(path.name) or not path.is_file():
            passed.append(path.name)
            continue
        try:
            days.append((date.fromisoformat(path.stem), path))
        except ValueError:
            wrong.append(f"{path.name}: the calendar has no such day")
    return days, passed, wrong


def _text(path: Path) -> str:
    """JournalError when it cannot be read as text."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as exc:
        raise JournalError(f"cannot be read ({exc.strerror})") from exc
    if len(data) > LARGEST:
        raise JournalError(f"is larger than {LARGEST >> 20} MiB; divide it")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as exc:
        raise JournalError("is not text in UTF-8; save it as UTF-8 and import it again") from exc


def _entries(text: str, day: date, people: tuple[str, ...]) -> list[Entry]:
    found = []
    for piece in cut(text, day, marked=True):
        plain, mark = unescaped(piece.text), piece.mark
        if mark is None:
            found.append(Entry(piece.section, plain, people, author="import", imported=True))
            continue
        found.append(
            Entry(
                piece.section, plain, mark.people, mark.room_id, (), mark.events, mark.author,
                imported=True, created_at=mark.created_at,
            )
        )  # fmt: skip
    return found


async def embed(means: Means) -> None:
    """Let every passage have its vector before we return."""
    model = embedder.from_config(means.config)
    if model is None:
        _say("Embeddings are switched off (embeddings.model: none): it is found by its words.")
        return
    vectors = index.Vectors(means.pool, model)
    task = means.progress.add_task("Embedding", total=None)
    try:
        await vectors.load()
        while True:
            now = await vectors.progress()
            means.progress.update(task, completed=now.done, total=now.total)
            if not await vectors.step():
                break
    except (ModelError, ConfigError) as exc:
        _say(f"No vectors were made: {exc}")
        _say("It is found by its words; the service makes the vectors as soon as it can.")
        return
    finally:
        await model.close()
    _say(f"The index is complete: {_count(now.total, 'passage')} with {model.name}.")


def _count(number: int, of: str, many: str = "") -> str:
    return f"{number:,} {of if number == 1 else many or of + 's'}"


def _say(text: str) -> None:
    print(text, flush=True)
