"""`memtrix-as import FOLDER`: the mind of a Memtrix installation, as files, into this one.

Taken are `workspace/` and `agents/*/` (core files, journals, files) and, from `data/config.json`,
who the agents are. Nothing is overwritten without `--replace`, and the same again changes nothing.
Conversations stay behind: their rooms are bound to accounts that are not ours.
"""

import argparse
import asyncio
import filecmp
import json
import logging
import mimetypes
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from memtrix_as import attachments, config, database, journal_files
from memtrix_as.agent import names
from memtrix_as.config import Config
from memtrix_as.db import agents
from memtrix_as.db import attachments as rows
from memtrix_as.db.agents import Agent
from memtrix_as.db.pool import Connection, Pool, check, clean, connect
from memtrix_as.errors import BackupError, PeopleError, ToolError
from memtrix_as.journal_files import Means
from memtrix_as.memory import core_files
from memtrix_as.memory.core_files import CORE_FILES
from memtrix_as.memory.persona import TEMPLATES, Persona
from memtrix_as.messages import Kept
from memtrix_as.workspace import Workspaces, paths
from memtrix_as.workspace.folder import Workspace

MEMORY = "memory"  # the folder of the journals
MOST_EXPERTISE = 1_000  # characters, as for agents that are made here
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Source:
    """One agent of the installation, and who it is here."""

    folder: Path
    agent: Agent
    new: bool = False


@dataclass(frozen=True)
class File:
    """A file of an agent, and what becomes of it: "new", "replaced", "kept" or "same"."""

    path: str
    source: Path
    fate: str


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("folder", type=Path, help="with workspace/, agents/ and data/ in it")
    parser.add_argument("--replace", action="store_true", help="files that are here and differ")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    parser.add_argument(
        "--for", action="append", dest="people", metavar="@USER:SERVER", default=[],
        help="who may know journals and attachments; again for more, or `everyone`; the owner if "
        "left out",
    )  # fmt: skip


async def main(options: argparse.Namespace) -> int:
    """Do it; returns the exit status: 1 when something could not be taken."""
    settings = config.load(options.config)
    config.setup_logging(settings)
    logging.getLogger().setLevel(logging.WARNING)
    people = journal_files.known_to(options.people)
    told = await asyncio.to_thread(_told, options.folder)
    if options.dry_run:
        return await _rehearse(options, settings, told)
    async with journal_files.opened(settings, None) as means:
        found, wrong = await _sources(means.pool, settings, options.folder, told)
        known = people or await journal_files.owner_of(means)
        failed = False
        for source in found:
            failed |= await _take(means, source, known, options.replace)
        await journal_files.embed(means)
    return _tell_rest(settings, told, wrong) or int(failed)


async def _rehearse(options: argparse.Namespace, settings: Config, told: Mapping[str, Any]) -> int:
    async with database.opened(settings) as dsn:
        pool = await connect(dsn)
        try:
            await check(pool)
            found, wrong = await _sources(pool, settings, options.folder, told)
        finally:
            await pool.close()
    for source in found:
        home = Workspaces(settings).of(source.agent.name)
        files = await asyncio.to_thread(_files, source, home, options.replace)
        print(_line(source, files, "would be"))
        if (source.folder / MEMORY).is_dir():
            days, _, _ = journal_files.days_of(source.folder / MEMORY)
            print(f"  {len(days)} days of journal would be read in")
    print("Nothing was changed.")
    return _tell_rest(settings, told, wrong)


def _told(folder: Path) -> dict[str, Any]:
    """What `data/config.json` says; BackupError where there is no installation."""
    if not (folder / "workspace").is_dir():
        raise BackupError(
            f"There is no {folder / 'workspace'}: give the folder of a Memtrix installation, in "
            "which workspace/, agents/ and data/ are."
        )
    path = folder / "data" / "config.json"
    try:
        told = clean(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as exc:
        raise BackupError(f"{path} cannot be read: {exc}. Mend it, or move it away.") from exc
    return told if isinstance(told, dict) else {}


def _section(told: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    at: Any = told
    for key in keys:
        at = at.get(key) if isinstance(at, dict) else None
    return at if isinstance(at, dict) else {}


async def _sources(
    pool: Pool, settings: Config, folder: Path, told: Mapping[str, Any]
) -> tuple[list[Source], list[str]]:
    """The agents of the installation, the main one first; and why others cannot be taken."""
    everyone = {agent.name: agent for agent in await agents.load(pool)}
    for state in ("leaving", "archived"):
        everyone |= {agent.name: agent for agent in await agents.load(pool, state)}
    main = agents.main(settings)
    found = [Source(folder / "workspace", everyone.get(main.name, main), main.name not in everyone)]
    wrong = []
    for home in sorted(p for p in (folder / "agents").glob("*") if p.is_dir()):
        try:
            there = everyone.get(home.name)
            agent = there or _made(home.name, _section(told, "agents", home.name), settings,
                                   [*everyone.values(), main])  # fmt: skip
            if agent.state != "active" or agent.main:
                raise PeopleError("an agent of this name is the main one, or was archived here.")
        except PeopleError as exc:
            wrong.append(f"agents/{home.name} is not taken: {exc}")
            continue
        everyone[agent.name] = agent
        found.append(Source(home, agent, there is None))
    return found, wrong


def _made(slug: str, told: Mapping[str, Any], settings: Config, everyone: Sequence[Agent]) -> Agent:
    """The agent as a row of ours; the next start makes it true in Matrix."""
    if not _SLUG.fullmatch(slug):
        raise PeopleError("its folder is not named as an agent's: letters, digits and hyphens.")
    if sum(agent.state == "active" for agent in everyone) > settings.limits.agents:
        raise PeopleError("there are as many agents as limits.agents allows.")
    shown = str(told.get("display_name") or slug.replace("-", " ").title())
    name = names.cleaned(shown.replace("\u26a1", "").replace("\ufe0f", ""))
    for agent in everyone:
        if names.outlines(name) & names.outlines(agent.display_name):
            raise PeopleError(f"{name} could be taken for {agent.display_name}, who is here.")
    service, domain = settings.appservice, settings.homeserver.domain
    user_id = f"@{service.username_template.replace('{name}', slug)}:{domain}"
    if user_id in {agent.user_id for agent in everyone}:
        raise PeopleError(f"{user_id} is another agent's.")
    model = str(told.get("model"))
    if model not in settings.models:
        model = settings.main_agent.model
    field = " ".join(str(told.get("description") or "").split())[:MOST_EXPERTISE]
    return Agent(slug, user_id, name, False, model, False, False, expertise=field)


async def _take(means: Means, source: Source, people: tuple[str, ...], again: bool) -> bool:
    """Bring one agent in; whether something of it could not be."""
    agent, persona = source.agent, Persona(means.pool, means.config)
    if source.new and not agent.main:
        async with agents.naming(means.pool) as db:
            await _add(db, agent)
    home = Workspaces(means.config).of(agent.name)
    files = await asyncio.to_thread(_files, source, home, again)
    refused = await asyncio.to_thread(_copy, home, files)
    if "*" not in people:
        came = [file for file in files if file.path.startswith(f"{attachments.FOLDER}/")
                and (home.root / file.path).is_file()]  # not those that were refused  # fmt: skip
        await rows.imported(means.pool, agent.name, list(map(_kept, came)), people)
    await persona.keep(agent.name)
    print(_line(source, files, "were"), flush=True)
    for problem in refused:
        print(f"  {problem}", flush=True)
    failed = bool(refused)
    memory = source.folder / MEMORY
    if await asyncio.to_thread(_has_days, memory):
        failed |= bool(await journal_files.bring_in(replace(means, agent=agent), memory, people))
    return failed


def _kept(file: File) -> Kept:
    """An attachment of the installation; of its sender nothing is known."""
    name = file.path.rpartition("/")[2]
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Kept(name, kind, file.source.stat().st_size, file.path)


async def _add(db: Connection, agent: Agent) -> None:
    if agent.name not in {other.name for other in await agents.load(db)}:
        await agents.add(db, agent)


def _has_days(folder: Path) -> bool:
    return folder.is_dir() and bool(journal_files.days_of(folder)[0])


def _files(source: Source, home: Workspace, again: bool) -> list[File]:
    """All files of an agent but its journals. A sub-agent's USER.md is the main agent's."""
    found = []
    for path, file in _walk(source.folder):
        top = path.split("/")[0]
        if top == MEMORY or (path == "USER.md" and not source.agent.main):
            continue
        here = home.root / path
        if not os.path.lexists(here):
            fate = "new"
        elif here.is_file() and filecmp.cmp(file, here, shallow=False):
            fate = "same"
        elif again or (path in CORE_FILES and _untouched(here)):
            fate = "replaced"
        else:
            fate = "kept"
        found.append(File(path, file, fate))
    return found


def _untouched(path: Path) -> bool:
    """Whether a core file still is as we made it."""
    return core_files.look(path).text == (TEMPLATES / path.name).read_text("utf-8")


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    """Plain files below a folder; no link is followed."""
    for at, folders, files in os.walk(root, followlinks=False):
        folders.sort()
        for name in sorted(files):
            path = Path(at) / name
            if stat.S_ISREG(path.lstat().st_mode):
                yield path.relative_to(root).as_posix(), path


def _copy(home: Workspace, files: Sequence[File]) -> list[str]:
    """Put the files into the agent's folder; returns what could not be, and why."""
    refused = []
    for file in files:
        if file.fate not in ("new", "replaced"):
            continue
        try:
            if file.path in CORE_FILES:
                _copy_core(home.root / file.path, file)
            else:
                _copy_plain(home, file)
        except (ToolError, OSError) as exc:
            refused.append(f"{file.path} was not taken: {exc}")
    return refused


def _copy_core(to: Path, file: File) -> None:
    seen = core_files.look(file.source)
    if seen.problem:
        raise ToolError(f"it {seen.problem}.")
    if file.fate == "new":
        core_files.create(to, seen.text)
    else:
        core_files.replace(to, seen.text, core_files.look(to).text)


def _copy_plain(home: Workspace, file: File) -> None:
    paths.parts(file.path)  # an agent could not use what it cannot name
    folder, _, name = file.path.rpartition("/")
    with open(os.open(file.source, _FILE), "rb") as source:
        with home.incoming(folder, name, replace=True) as out:
            while data := source.read(1 << 20):
                out.write(data)


def _line(source: Source, files: Sequence[File], verb: str) -> str:
    agent, told = source.agent, []
    for fate in ("new", "replaced", "kept", "same"):
        those = [file.path for file in files if file.fate == fate]
        if those:
            core = [path for path in those if path in CORE_FILES]
            names_ = f" ({', '.join(core)}{' and others' * (len(those) > len(core))})" * bool(core)
            told.append(f"{len(those)} {'files' if len(those) > 1 else 'file'} {fate}{names_}")
    made = f", {verb.replace('were', 'was')} made" if source.new and not agent.main else ""
    return f"{agent.display_name} ({agent.name}){made}: {'; '.join(told) or 'no files'}"


def _tell_rest(settings: Config, told: Mapping[str, Any], wrong: Sequence[str]) -> int:
    """What a human has to do, or should know; the exit status."""
    name = _section(told, "main-agent").get("name")
    if name and name != settings.main_agent.name:
        print(f"The main agent was called {name}: main_agent.name in config.yaml says what it is "
              "called here.")  # fmt: skip
    missing = sorted(set(_section(told, "models")) - set(settings.models))
    if missing:
        print(f"config.yaml has no model {', '.join(missing)}: agents that used it use the main "
              "agent's.")  # fmt: skip
    for problem in wrong:
        print(problem)
    return int(bool(wrong))
