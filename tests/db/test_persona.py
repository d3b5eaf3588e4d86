"""Core files and their versions: several hands at once, editors, and crashes in between."""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memtrix_as import config
from memtrix_as.config import Config
from memtrix_as.db import agents
from memtrix_as.db.agents import Agent
from memtrix_as.db.pool import Pool, connect
from memtrix_as.errors import PersonaError
from memtrix_as.memory.company import Company
from memtrix_as.memory.persona import TEMPLATES, Persona, hash_of
from tests.rig.database import Database
from tests.rig.settings import settings, tokens, write

ROOT = Path(__file__).parents[2]
ANN, BEN = "@ann:hs.test", "@ben:hs.test"
ALONE, GROUP = Company((ANN,), ANN), Company((ANN, BEN), ANN)
NOW = datetime(2026, 3, 18, 9, 30, tzinfo=UTC)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await connect(database.dsn)
    main = Agent("memtrix", "@memtrix:hs.test", "Memtrix", True, "m", False, False)
    await agents.keep_main(pool, main)
    await pool.execute(
        "insert into agents (name, user_id, display_name, model)"
        " values ('dennis', '@d:hs.test', 'Dennis', 'm')"
    )
    yield pool
    await pool.close()


@pytest.fixture
def settled(tmp_path: Path, database: Database) -> Config:
    values = settings(tokens("memtrix"), "http://127.0.0.1:9", 1, database.dsn)
    return config.load(write(tmp_path / "config.yaml", values))


@pytest.fixture
async def persona(pool: Pool, settled: Config) -> Persona:
    persona = Persona(pool, settled)
    await persona.keep("memtrix")
    return persona


async def prompt(
    persona: Persona, agent: str = "memtrix", company: Company = ALONE, limit: int = 4000
) -> str:
    return await persona.prompt(agent, company, NOW, limit)


async def texts(persona: Persona, file: str, agent: str = "memtrix") -> list[tuple[str, str]]:
    return [(v.author, v.text) for v in reversed(await persona.history(agent, file, 100))]


async def rewrite(persona: Persona, file: str, text: str, agent: str = "memtrix") -> None:
    await persona.write(agent, file, text, hash_of(await persona.read(agent, file)))


async def test_files_come_from_the_templates_and_are_in_the_prompt(
    persona: Persona, tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace"
    for path in TEMPLATES.iterdir():
        assert (workspace / path.name).read_text() == path.read_text()
    text = await prompt(persona)
    assert "You are Memtrix" in text and "{{" not in text
    assert "Wednesday, 18 March 2026, about 9 o'clock (UTC)" in text
    for file in ("SOUL.md", "BEHAVIOR.md", "USER.md", "MEMORY.md"):
        assert (TEMPLATES / file).read_text().strip() in text
    assert await texts(persona, "SOUL.md") == [("template", (TEMPLATES / "SOUL.md").read_text())]


async def test_what_is_there_is_never_touched(pool: Pool, settled: Config, tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    mine = tmp_path / "workspace" / "SOUL.md"
    mine.write_bytes(b"\xef\xbb\xbfMine.\r\n")
    persona = Persona(pool, settled)
    await persona.keep("memtrix")
    assert mine.read_bytes() == b"\xef\xbb\xbfMine.\r\n"
    assert await texts(persona, "SOUL.md") == [("human", "Mine.\n")]
    await Persona(pool, settled).keep("memtrix")
    assert len(await texts(persona, "SOUL.md")) == 1, "the same text is the same version"


async def test_an_editor_s_change_is_noticed_and_kept(persona: Persona, tmp_path: Path) -> None:
    path = tmp_path / "workspace" / "BEHAVIOR.md"
    path.write_text("Speak like a {{NAME}} pirate.")
    assert "Speak like a {{NAME}} pirate." in await prompt(persona), "it stays text"
    path.write_text("Speak like a sailor.")
    path.with_name("USER.md").write_text("   \n")
    text = await prompt(persona)
    assert "sailor" in text and "pirate" not in text
    assert "(nothing yet)" in text.split("(USER.md)")[-1]
    assert [author for author, _ in await texts(persona, "BEHAVIOR.md")] == [
        "template", "human", "human",
    ]  # fmt: skip


async def test_another_process_s_changes_are_seen(
    persona: Persona, pool: Pool, settled: Config
) -> None:
    other = Persona(pool, settled)
    await prompt(other)
    await rewrite(persona, "MEMORY.md", "- The boat is blue.\n")
    assert "The boat is blue." in await prompt(other)
    await rewrite(other, "MEMORY.md", "- The boat is red.\n")
    assert "The boat is red." in await prompt(persona)
    assert [a for a, _ in await texts(persona, "MEMORY.md")] == ["template", "agent", "agent"]


async def test_every_agent_has_its_own_files_but_one_user(persona: Persona, tmp_path: Path) -> None:
    await rewrite(persona, "USER.md", "- Name: Ann\n", "dennis")
    await rewrite(persona, "SOUL.md", "A cook.\n", "dennis")
    assert not (tmp_path / "agents" / "dennis" / "USER.md").exists()
    assert "Name: Ann" in await prompt(persona) and "A cook." not in await prompt(persona)
    text = await prompt(persona, "dennis")
    assert "Name: Ann" in text and "A cook." in text and "You are Dennis" in text
    await persona.undo("memtrix", "USER.md")
    assert "Name: Ann" not in await prompt(persona, "dennis")


@pytest.mark.parametrize("name", ["..", "a/../../b", ".hidden", ""])
async def test_no_agent_s_name_leads_elsewhere(persona: Persona, name: str) -> None:
    with pytest.raises(PersonaError):
        await persona.read(name, "SOUL.md")
    with pytest.raises(PersonaError):
        await persona.read("memtrix", "../config.yaml")


async def test_among_others_the_owner_s_files_are_not_shown(persona: Persona) -> None:
    await rewrite(persona, "USER.md", "- Name: Ann\n")
    await rewrite(persona, "MEMORY.md", "- She is to be promoted.\n")
    for company in (GROUP, Company((BEN,), ANN), Company((ANN,), None)):
        text = await prompt(persona, company=company)
        assert "Name: Ann" not in text and "promoted" not in text
        assert "Kept for the person" in text
    assert "promoted" in await prompt(persona, company=replace(GROUP, open_files=True))


async def test_too_much_is_cut_and_said_once(
    persona: Persona, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    lines = "".join(f"- Fact number {n} of many.\n" for n in range(1000))
    (tmp_path / "workspace" / "MEMORY.md").write_text(lines)
    for _ in range(2):
        text = await prompt(persona, limit=1500)
        assert len(text) < 1500 * 4.2
        assert "Fact number 0 " in text and "Fact number 999 " in text
        assert "characters of MEMORY.md do not fit here" in text
        assert (TEMPLATES / "SOUL.md").read_text().strip() in text, "the small are not touched"
    assert caplog.text.count("MEMORY.md is cut") == 1


async def test_a_file_that_cannot_be_read_is_said_once_and_left_alone(
    persona: Persona, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    path = tmp_path / "workspace" / "SOUL.md"
    path.unlink()
    path.symlink_to("/etc/passwd")
    for _ in range(2):
        text = await prompt(persona)
        assert "root:" not in text and "(cannot be read at the moment)" in text
    assert caplog.text.count("is a symbolic link") == 1
    with pytest.raises(PersonaError, match="symbolic link"):
        await persona.write("memtrix", "SOUL.md", "x", b"")
    with pytest.raises(PersonaError, match="symbolic link"):
        await persona.undo("memtrix", "SOUL.md", 1)
    path.unlink()
    path.write_text("Back.")
    assert "Back." in await prompt(persona)


async def test_a_deleted_file_comes_back_as_template_and_its_text_by_undo(
    persona: Persona, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    await rewrite(persona, "MEMORY.md", "- The boat is blue.\n")
    (tmp_path / "workspace" / "MEMORY.md").unlink()
    assert "boat" not in await prompt(persona)
    assert "/persona undo MEMORY.md" in caplog.text
    await persona.undo("memtrix", "MEMORY.md")
    assert "boat" in await prompt(persona)
    authors = [author for author, _ in await texts(persona, "MEMORY.md")]
    assert authors == ["template", "agent", "template", "undo"]


async def test_undo_goes_back_and_can_be_undone(persona: Persona) -> None:
    for word in ("one", "two", "three"):
        await rewrite(persona, "SOUL.md", word)
    diff = await persona.diff("memtrix", "SOUL.md")
    assert "-two" in diff and "+three" in diff and "version 3" in diff
    await persona.undo("memtrix", "SOUL.md")
    assert await persona.read("memtrix", "SOUL.md") == "two"
    await persona.undo("memtrix", "SOUL.md")
    assert await persona.read("memtrix", "SOUL.md") == "three"
    await persona.undo("memtrix", "SOUL.md", 2)
    assert await persona.read("memtrix", "SOUL.md") == "one"
    assert [v.number for v in await persona.history("memtrix", "SOUL.md")] == [7, 6, 5, 4, 3, 2, 1]
    with pytest.raises(PersonaError, match="from 1 to 7"):
        await persona.undo("memtrix", "SOUL.md", 8)
    with pytest.raises(PersonaError, match="no other text"):
        await persona.diff("memtrix", "BEHAVIOR.md")


async def test_of_two_writers_one_is_told(persona: Persona, pool: Pool, settled: Config) -> None:
    hands = [persona, *(Persona(pool, settled) for _ in range(3))]
    seen = hash_of(await persona.read("memtrix", "SOUL.md"))
    writes = (h.write("memtrix", "SOUL.md", f"by {n}", seen) for n, h in enumerate(hands))
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    lost = [o for o in outcomes if isinstance(o, PersonaError)]
    assert len(lost) == 3 and all("read it again" in str(o) for o in lost)
    kept = await texts(persona, "SOUL.md")
    assert len(kept) == 2 and kept[-1][1] == await persona.read("memtrix", "SOUL.md")


async def test_an_editor_between_reading_and_writing_wins(persona: Persona, tmp_path: Path) -> None:
    path = tmp_path / "workspace" / "SOUL.md"
    seen = hash_of(await persona.read("memtrix", "SOUL.md"))
    path.write_text("By hand.")
    with pytest.raises(PersonaError, match="read it again"):
        await persona.write("memtrix", "SOUL.md", "By the agent.", seen)
    assert path.read_text() == "By hand."
    assert (await texts(persona, "SOUL.md"))[-1] == ("human", "By hand.")


async def test_what_cannot_be_written_leaves_no_version(
    persona: Persona, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    seen = hash_of(await persona.read("memtrix", "SOUL.md"))
    with monkeypatch.context() as patch:
        patch.setattr("memtrix_as.memory.core_files.os.replace", full)
        with pytest.raises(PersonaError, match="No space left"):
            await persona.write("memtrix", "SOUL.md", "New.", seen)
    assert len(await texts(persona, "SOUL.md")) == 1
    await persona.write("memtrix", "SOUL.md", "New.", seen)
    assert (tmp_path / "workspace" / "SOUL.md").read_text() == "New."


async def test_a_write_that_is_cancelled_halfway_is_ended_by_the_next_prompt(
    persona: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancelled(*_: object) -> None:
        raise asyncio.CancelledError

    await prompt(persona)
    with monkeypatch.context() as patch:
        patch.setattr(Persona, "settle", cancelled)
        with pytest.raises(asyncio.CancelledError):
            await rewrite(persona, "SOUL.md", "New.")
    assert "New." in await prompt(persona)
    assert [author for author, _ in await texts(persona, "SOUL.md")] == ["template", "agent"]


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from memtrix_as import config
from memtrix_as.db.pool import connect
from memtrix_as.memory.persona import Persona, hash_of

async def main(path, when):
    settings = config.load(Path(path))
    persona = Persona(await connect(settings.appservice.database), settings)
    text = await persona.read("memtrix", "SOUL.md")
    real = os.replace
    def replace(source, target):
        if when == "after":
            real(source, target)
        os.kill(os.getpid(), signal.SIGKILL)
    os.replace = replace
    await persona.write("memtrix", "SOUL.md", "New.\\n", hash_of(text))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("editor", [False, True])
async def test_killed_in_the_middle_of_a_write(
    persona: Persona, pool: Pool, settled: Config, tmp_path: Path, when: str, editor: bool
) -> None:
    """The text was stored and was on its way: the next who looks ends what was begun."""
    path = tmp_path / "workspace" / "SOUL.md"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, tmp_path / "config.yaml", when, cwd=ROOT
    )
    assert await child.wait() == -signal.SIGKILL
    if editor:
        path.write_text("By hand.\n")
    await Persona(pool, settled).keep("memtrix")
    kept = await texts(persona, "SOUL.md")
    assert path.read_text() == ("By hand.\n" if editor else "New.\n") == kept[-1][1]
    authors = [author for author, _ in kept]
    assert authors == ["template", "agent", *(["human"] if editor else [])]
    assert kept[-1][1] in await prompt(persona) + "\n"


async def test_an_undo_within_a_transaction_that_fails_did_not_happen(
    persona: Persona, pool: Pool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    await rewrite(persona, "SOUL.md", "New.\n")
    (tmp_path / "workspace" / "SOUL.md").write_text("By hand.\n")
    with pytest.raises(ValueError, match="no"):
        async with pool.acquire() as connection, connection.transaction():
            then = await persona.undo("memtrix", "SOUL.md", 1, connection)
            raise ValueError("no")
    assert "By hand." in await prompt(persona)
    assert [a for a, _ in await texts(persona, "SOUL.md")] == ["template", "agent", "human"]
    async with pool.acquire() as connection, connection.transaction():
        then = await persona.undo("memtrix", "SOUL.md", None, connection)
        assert then.text == "New.\n"
    await persona.settle("memtrix", "SOUL.md", then.text)
    assert (tmp_path / "workspace" / "SOUL.md").read_text() == "New.\n"
