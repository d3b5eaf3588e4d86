"""Persona: who an agent is, in files that it, its human and the database keep in step.

The file is what counts; the database keeps every text that it ever had. A text of ours is stored
first, marked as on its way, and then put into the file; whoever looks at the file next ends what
a crash interrupted.
"""

import asyncio
import difflib
import logging
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from memtrix_as.config import Config, role
from memtrix_as.db import agents, persona
from memtrix_as.db.persona import Author, Version, locked
from memtrix_as.db.pool import Connection, Pool, clean
from memtrix_as.errors import PersonaError
from memtrix_as.memory import core_files, prompt
from memtrix_as.memory.company import Company
from memtrix_as.memory.core_files import CORE_FILES, Seen, plain
from memtrix_as.memory.words import words

log = logging.getLogger(__name__)

TEMPLATES = Path(__file__).parent / "templates"
OWNERS = frozenset({"USER.md", "MEMORY.md"})  # for the owner's eyes
CHANGEABLE = tuple(file for file in CORE_FILES if file != "AGENT.md")  # by agents
GUARDED = 400  # characters: of a longer text, most may not go without a yes
AN_EDITOR = 0.1  # seconds in which an editor may have taken a file away to put in a new one

UNWRITTEN = "{file} was not written: {why}."
MEANWHILE = "it was changed by somebody else at the same moment; read it again"


class Persona:
    """The core files of all agents: AGENT.md, SOUL.md, BEHAVIOR.md, USER.md, MEMORY.md."""

    def __init__(self, pool: Pool, config: Config) -> None:
        self.pool = pool
        self._config = config
        self._main = config.appservice.bot_username
        self._templates = {file: (TEMPLATES / file).read_text("utf-8") for file in CORE_FILES}
        self._seen: dict[tuple[str, str], Seen] = {}  # what is known to be in the database
        self._told: dict[tuple[str, str], str] = {}  # what the log says of a file's state
        self._cut: set[tuple[str, str]] = set()

    async def keep(self, agent: str) -> None:
        """At start: see that the agent's files are there, and take note of what has changed."""
        try:
            folder = self.path(agent, "SOUL.md").parent
        except PersonaError as exc:
            log.error("%s", exc)
            return
        await asyncio.to_thread(core_files.sweep, folder)
        for file in CORE_FILES:
            self._say(agent, file, (await self._note(agent, file)).problem)

    async def begin(self, db: Connection, agent: str, texts: Mapping[str, str]) -> None:
        """Give a new agent its first texts; `keep` puts them into its folder, after the commit."""
        for file, text in texts.items():
            await persona.add(db, agent, file, str(clean(plain(text))), "template", placed=False)

    def path(self, agent: str, file: str) -> Path:
        """Where a file is; every agent's USER.md is the main agent's. PersonaError for no name."""
        if file not in CORE_FILES:
            raise PersonaError(f"There is no {file!r}; there are {', '.join(CORE_FILES)}.")
        home = self._home(agent, file)
        if home == self._main:
            return self._config.workspace_directory / file
        if not home or "/" in home or home.startswith("."):
            raise PersonaError(f"{home!r} is no name for an agent's folder.")
        return self._config.agents_directory / home / file

    def manages(self, user_id: str, company: Company) -> bool:
        """Whether somebody may change who the agents are: the owner, and administrators."""
        return user_id == company.owner or role(self._config.permissions, user_id) == "admin"

    @property
    def largest(self) -> int:
        """How many characters an agent may write."""
        return self._config.memory.core_file_size

    async def look(self, agent: str) -> dict[str, Seen]:
        """All files of an agent now; a change is in the database when this returns."""
        keys = {file: (self._home(agent, file), file) for file in CORE_FILES}
        before = {file: self._seen.get(key) for file, key in keys.items()}
        paths = {file: self.path(agent, file) for file in CORE_FILES}
        # All in one thread: what costs is going there.
        seen = await asyncio.to_thread(
            lambda: {file: core_files.look(path, before[file]) for file, path in paths.items()}
        )
        for file, now in seen.items():
            known = before[file]
            if now.missing or not known or (now.text, now.problem) != (known.text, known.problem):
                seen[file] = await self._note(agent, file)
            elif self._seen.get(keys[file]) is known:  # nobody was here meanwhile
                self._seen[keys[file]] = now
        return seen

    async def prompt(
        self,
        agent: str,
        company: Company,
        now: datetime,
        limit: int,
        *,
        name: str | None = None,
        seen: Mapping[str, Seen] | None = None,
        others: str = "",
    ) -> str:
        """The agent's system prompt, in about `limit` tokens, for those who are present.

        What a caller has already is not looked up: what the agent is called, and its files as
        `look` gave them just now. `others` is what it is told of other agents.
        """
        seen = seen or await self.look(agent)
        for file in CORE_FILES:
            self._say(agent, file, seen[file].problem)
        template = seen["AGENT.md"].text
        if not template.strip():
            template = self._templates["AGENT.md"]
        texts = {}
        for file in CHANGEABLE:
            if "{{" + file.removesuffix(".md") + "}}" not in template:
                continue
            text = seen[file].text.strip() or prompt.NOTHING
            if seen[file].problem and not seen[file].text:
                text = prompt.UNREADABLE
            if file in OWNERS and not company.private:
                text = prompt.OWNERS_ONLY
            texts[file] = text
        if name is None:
            name = (await agents.get(self.pool, agent)).display_name
        values = {
            "NAME": name,
            "MAIN": self._config.main_agent.name,
            "DATE": prompt.hour(now),
            "AGENTS": others or prompt.NO_OTHERS,
        }
        bare = prompt.fill(template, values | {file.removesuffix(".md"): "" for file in texts})
        fitting, cut = prompt.fit(texts, limit - prompt.tokens(bare))
        if prompt.tokens(bare) > limit:
            cut.append("AGENT.md")
        self._say_cut(agent, cut, limit)
        values |= {file.removesuffix(".md"): text for file, text in fitting.items()}
        return prompt.fill(template, values).strip()

    async def read(self, agent: str, file: str, within: Connection | None = None) -> str:
        """The text of a file now; PersonaError when it cannot be read."""
        seen = await self._note(agent, file, within)
        if seen.problem:
            raise PersonaError(f"{file} cannot be read: it {seen.problem}.")
        return seen.text

    async def write(
        self, agent: str, file: str, text: str, expected: bytes, turn_id: int | None = None
    ) -> bytes:
        """Put an agent's text in place of the one that has the hash `expected`.

        Returns the new hash. PersonaError if another text is there, or it cannot be written; a
        text that stands there already is fine.
        """
        text = str(clean(plain(text)))
        home = self._home(agent, file)
        try:
            async with locked(self.pool, home, file) as db:
                now = await self.read(agent, file, db)
                if now != text:
                    if hash_of(now) != expected:
                        raise PersonaError(UNWRITTEN.format(file=file, why=MEANWHILE))
                    await persona.add(db, home, file, text, "agent", turn_id=turn_id, placed=False)
        finally:
            self._seen.pop((home, file), None)  # were this cancelled, the next look ends it
        await self.settle(agent, file, text)
        return hash_of(text)

    async def settle(self, agent: str, file: str, text: str) -> None:
        """Put what was stored last into its file; PersonaError unless `text` stands there then."""
        self._seen.pop((self._home(agent, file), file), None)
        seen = await self._note(agent, file)
        if seen.problem or seen.text != text:
            why = f"it {seen.problem}" if seen.problem else MEANWHILE
            raise PersonaError(UNWRITTEN.format(file=file, why=why))

    async def history(
        self, agent: str, file: str, most: int = 30, within: Connection | None = None
    ) -> list[Version]:
        """The newest versions of a file, the newest first; that one is what the file says now."""
        home = self._home(agent, file)
        async with locked(self.pool, home, file, within) as db:
            await self._noted(db, agent, file)
            return await persona.history(db, home, file, most)

    async def version(
        self, agent: str, file: str, number: int | None, within: Connection | None = None
    ) -> tuple[Version, Version]:
        """The newest version, and that with the number (else the one before the newest).

        PersonaError when there is no such version.
        """
        home = self._home(agent, file)
        async with locked(self.pool, home, file, within) as db:
            await self._noted(db, agent, file)
            last = await persona.last(db, home, file)
            if not last:
                raise PersonaError(f"{file} has no versions yet; it cannot be read or made.")
            if number is None:
                if len(last) == 1:
                    raise PersonaError(f"{file} has had no other text yet.")
                return last[0], last[1]
            found = await persona.one(db, home, file, number)
            if found is None:
                count = last[0].number
                raise PersonaError(f"{file} has no version {number}; they go from 1 to {count}.")
            return last[0], found

    async def diff(
        self, agent: str, file: str, number: int | None = None, within: Connection | None = None
    ) -> str:
        """What has changed since a version (else the one before the newest), as a unified diff."""
        now, then = await self.version(agent, file, number, within)
        lines = difflib.unified_diff(
            then.text.splitlines(), now.text.splitlines(),
            f"{file} version {then.number}", f"{file} version {now.number}", lineterm="",
        )  # fmt: skip
        return "\n".join(lines)

    async def undo(
        self, agent: str, file: str, number: int | None = None, within: Connection | None = None
    ) -> Version:
        """Go back to a version (else the one before the newest), as a new one; returns the old.

        With `within`, the file follows only at `settle`, after the commit.
        """
        home = self._home(agent, file)
        async with locked(self.pool, home, file, within) as db:
            await self.read(agent, file, db)
            _, then = await self.version(agent, file, number, db)
            await persona.add(db, home, file, then.text, "undo", placed=False)
        if within is None:
            await self.settle(agent, file, then.text)
        return then

    def _home(self, agent: str, file: str) -> str:
        return self._main if file == "USER.md" else agent

    async def _note(self, agent: str, file: str, within: Connection | None = None) -> Seen:
        home = self._home(agent, file)
        async with locked(self.pool, home, file, within) as db:
            seen = await self._noted(db, agent, file)
        if within is None:  # else it may be rolled back, and the version be forgotten
            self._seen[home, file] = seen
        return seen

    async def _noted(self, db: Connection, agent: str, file: str) -> Seen:
        """Bring file and database in step; the file's lock is held."""
        home, path = self._home(agent, file), self.path(agent, file)
        last = await persona.last(db, home, file)
        seen = await asyncio.to_thread(core_files.look, path)
        if seen.missing and last and last[0].placed:
            await asyncio.sleep(AN_EDITOR)
            seen = await asyncio.to_thread(core_files.look, path)
        if seen.missing:
            coming = last[0].text if last and not last[0].placed else None
            seen = await self._made(path, file, coming, known=bool(last))
        if seen.problem or seen.missing:
            return seen
        if last and not last[0].placed:
            if len(last) > 1 and seen.text == last[1].text:
                return await self._put(db, home, file, path, last[0], seen)
            # It stands there, or somebody has changed the file since: perhaps it stood there.
            await persona.arrived(db, last[0].id)
        author: Author = "template" if seen.text == self._templates[file] else "human"
        await persona.add(db, home, file, seen.text, author)
        return seen

    async def _put(
        self, db: Connection, home: str, file: str, path: Path, version: Version, seen: Seen
    ) -> Seen:
        """Put a version that is on its way into the file."""
        try:
            done, late = await asyncio.to_thread(core_files.replace, path, version.text, seen.text)
        except OSError as exc:
            await persona.drop(db, version.id)
            log.error("%s cannot be written (%s): let me write its folder", path, exc.strerror)
            # Not for keeping: the file can be read as it is.
            return Seen(seen.text, problem=f"cannot be replaced ({exc.strerror})")
        if not done:
            await persona.drop(db, version.id)
            return await asyncio.to_thread(core_files.look, path)
        await persona.arrived(db, version.id)
        if late is not None:
            await persona.add(db, home, file, late, "human")
            await persona.add(db, home, file, version.text, version.author)
        return await asyncio.to_thread(core_files.look, path)

    async def _made(self, path: Path, file: str, coming: str | None, *, known: bool) -> Seen:
        """A missing file, made of the text that is on its way, or else from its template."""
        text = self._templates[file] if coming is None else coming
        try:
            await asyncio.to_thread(core_files.create, path, text)
        except OSError as exc:
            problem = f"cannot be made ({exc.strerror or exc}); let me write the folder"
            return Seen(text, problem=problem)
        if known and coming is None:
            log.warning("%s was gone and is new; `/persona undo %s` brings it back", path, file)
        return await asyncio.to_thread(core_files.look, path)

    def _say(self, agent: str, file: str, problem: str | None) -> None:
        """Tell the log of an unreadable file, once."""
        key = self._home(agent, file), file
        if problem is None:
            self._told.pop(key, None)
        elif self._told.get(key) != problem:
            self._told[key] = problem
            log.error("%s %s", self.path(agent, file), problem)

    def _say_cut(self, agent: str, cut: list[str], limit: int) -> None:
        for file in CORE_FILES:
            key = agent, file
            if file not in cut:
                self._cut.discard(key)
            elif key not in self._cut:
                self._cut.add(key)
                what = "alone is more than" if file == "AGENT.md" else "is cut to fit into"
                log.warning(
                    "%s %s %s's prompt of %d tokens: shorten it, or use a model with more context",
                    self.path(agent, file), what, agent, limit,
                )  # fmt: skip


def hash_of(text: str) -> bytes:
    """What a text is known by."""
    return sha256(text.encode("utf-8", "replace")).digest()


def loss(old: str, new: str) -> tuple[int, int] | None:
    """How many words of a long text stay, and of how many, when that is less than half."""
    if len(old) <= GUARDED:
        return None
    before = Counter(words(old))
    total = sum(before.values())
    kept = sum((before & Counter(words(new))).values())
    return (kept, total) if kept * 2 < total else None
