"""The management room on a real database: who may type, what is asked, what breaks nothing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memtrix_as.admin.commands import COMMANDS
from memtrix_as.db import agents, confirmations, management
from memtrix_as.db.agents import Agent
from memtrix_as.db.pool import Pool, connect
from memtrix_as.testing import ScriptedModel
from tests.rig.bench import ANN, MAIN
from tests.rig.database import Database
from tests.rig.office import BEN, EVE, Office, opened
from tests.rig.waiting import eventually

BROKEN = "Something went wrong inside me"


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await connect(database.dsn)
    await agents.keep_main(
        pool, Agent("memtrix", MAIN, "Memtrix", True, "test-model", False, False)
    )
    yield pool
    await pool.close()


@pytest.fixture
async def office(pool: Pool, tmp_path: Path) -> AsyncIterator[Office]:
    async with ScriptedModel() as model, opened(pool, tmp_path, model.url) as office:
        await office.open()
        yield office


@pytest.mark.parametrize("name", COMMANDS)
async def test_every_command_is_refused_to_others(office: Office, name: str) -> None:
    await office.comes(EVE)
    said = await office.types(COMMANDS[name].example, EVE)
    assert "only administrators" in said and EVE in said
    assert await office.types(COMMANDS[name].example, EVE) == "", "told once"
    assert await office.pool.fetchval("select count(*) from confirmations") == 0


@pytest.mark.parametrize("name", COMMANDS)
async def test_every_command_answers(office: Office, name: str) -> None:
    said = await office.types(COMMANDS[name].example)
    assert said and BROKEN not in said and "no command" not in said
    told = await office.types(f"help {name}")
    assert COMMANDS[name].usage in told and COMMANDS[name].example in told


@pytest.mark.parametrize(
    "text",
    ["/status", "!status", "memtrix: status", "Memtrix, STATUS", f"{MAIN}: status", "`status`"],
)
async def test_what_may_stand_before_a_command(office: Office, text: str) -> None:
    assert "running for" in await office.types(text)


async def test_what_is_no_command_says_what_to_type(office: Office) -> None:
    assert "`status`" in await office.types("satus")
    assert "`agent create`" in await office.types("agents create Dennis")
    assert "NEW-NAME" in await office.types("agent rename Memtrix")
    assert "`on` or `off`" in await office.types("agent verbose Memtrix perhaps")
    assert "`test-model`" in await office.types("agent model Memtrix tset-model")
    assert "help" in await office.types("")
    assert "help" in await office.types("image.png", msgtype="m.image")


@pytest.mark.parametrize("how", ["yes", "yes 1", "ja!", "✅", "reply"])
async def test_a_yes_carries_out_what_was_asked(office: Office, how: str) -> None:
    number = await session(office)
    await renumber(office)
    asked = await office.types(f"session clear {number}")
    assert "2 messages" in asked and "No answer until" in asked
    assert await going_on(office) == 1
    question = office.question()
    if how == "✅":
        said = await office.clicks(how, question, BEN)
    elif how == "reply":
        relates = {"m.in_reply_to": {"event_id": f"$out{question.id}"}}
        said = await office.types("yes", BEN, **{"m.relates_to": relates})
    else:
        said = await office.types(how, BEN)
    assert "**Confirmed** by `@ben:hs.test`" in said and "is over" in said
    assert await going_on(office) == 0
    assert office.room.sent[-2].draft == question.id, "the question shows how it ended"
    assert "confirmed" in await office.types("yes 1"), "and is answered once"


@pytest.mark.parametrize(("word", "state"), [("no", "denied"), ("❌", "denied"), ("", "withdrawn")])
async def test_a_no_does_nothing(office: Office, word: str, state: str) -> None:
    number = await session(office)
    await office.types(f"session clear {number}")
    question = office.question()
    if word == "❌":
        said = await office.clicks(word, question)
    elif word:
        said = await office.types(word)
    else:
        before = len(office.room.sent)
        await office.happens("m.room.redaction", {"redacts": f"$out{question.id}"})
        await office.work()
        said = office.said(before)
    assert "nothing was done" in said
    assert await office.pool.fetchval("select state from confirmations") == state
    assert "No question is open" in await office.types("yes")
    assert await going_on(office) == 1


async def test_two_questions_do_not_mix(office: Office) -> None:
    number = await session(office)
    await office.types(f"session clear {number}")
    await office.types("memory reindex")
    first, second = await ids(office)
    said = await office.types("yes")
    assert f"`yes {first}`" in said and f"`yes {second}`" in said
    assert await going_on(office) == 1
    await office.types(f"no {second}")
    assert "is over" in await office.types("yes")
    assert f"no question {second + 7}" in await office.types(f"yes {second + 7}")


async def test_a_question_expires(office: Office) -> None:
    number = await session(office)
    await office.types(f"session clear {number}")
    before = len(office.room.sent)
    await office.pool.execute("update confirmations set expires_at = now()")
    assert "expired" in await office.types("yes"), "also before anybody has looked"
    await office.types(f"session clear {number}")
    await office.pool.execute("update confirmations set expires_at = now() where state = 'open'")
    expiring = asyncio.create_task(office.questions.run())
    await eventually(lambda: none_open(office), "the question to expire")
    expiring.cancel()
    await office.work()
    assert "**Expired**" in office.said(before)
    assert await going_on(office) == 1
    assert await confirmations.next_due(office.pool) is None


async def test_a_yes_that_a_crash_has_cut_is_carried_out_once(office: Office) -> None:
    """The yes is committed before what commits itself begins; whoever takes its item goes on."""
    await office.types("persona show Memtrix SOUL")
    persona = "select count(*) from persona_versions where file = 'SOUL.md'"
    folder = office.means.config.workspace_directory
    (folder / "SOUL.md").write_text("Another soul.")
    await office.types("persona undo Memtrix SOUL")
    before = await office.pool.fetchval(persona)
    async with office.pool.acquire() as connection, connection.transaction():
        await office.writes("yes")
        item = await connection.fetchval("select max(id) from inbox")
        await connection.execute(
            "update confirmations set state = 'going', item_id = $1, answered_by = $2", item, ANN
        )
    await office.work()
    assert "says again" in office.said()
    assert (folder / "SOUL.md").read_text() != "Another soul."
    assert await office.pool.fetchval(persona) == before + 1


async def test_what_agents_remember_is_not_shown_to_others(office: Office) -> None:
    assert "Nothing in the memory" in await office.types("memory search Memtrix bicycle")
    await office.comes(EVE)
    for text in ("memory search Memtrix bicycle", "persona show Memtrix USER", "session show 1"):
        assert EVE in await office.types(text)
    assert "running for" in await office.types("status")


async def test_the_room_is_kept_once_and_forgets_with_another(pool: Pool) -> None:
    await management.keep(pool, "!one", "#a:hs.test")
    await management.invited(pool, [ANN])
    await management.keep(pool, "!one", "#a:hs.test")
    known = await management.get(pool)
    assert known and known.invited == (ANN,)
    await management.keep(pool, "!two", "#b:hs.test")
    known = await management.get(pool)
    assert known and (known.room_id, known.invited) == ("!two", ())


NAMES = sorted(COMMANDS)
THINGS = [
    *("Memtrix", "memtrix", "SOUL", "USER.md", "#1", "1", "999999999", "0", "2026-02-30", "today"),
    *("on", "off", "web_search", "test-model", "scripted", "week", "yes", "no", "model=x"),
    *("\ud800", "\0", "\u202e", "💥" * 40, "a" * 9000, "#" * 300),
]
WORD = st.one_of(
    st.text(max_size=12),
    st.text(alphabet="\"'“”„«»`|\\*_[]<>#\n\t -0123456789", max_size=20),
    st.sampled_from(THINGS),
)
LINE = st.one_of(
    st.builds(
        lambda name, words, glue: glue.join([name, *words]),
        st.sampled_from(NAMES),
        st.lists(WORD, max_size=4),
        st.sampled_from([" ", "  ", "\n", "\t"]),
    ),
    st.lists(WORD, max_size=5).map(" ".join),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=LINE)
@example(text='agent create "')
@example(text="rooms \ud800 \0")
@example(text='memory forget Memtrix "#1" #2')
@example(text="memory show Memtrix 2026-13-01")
@example(text="room leave !office")
@example(text="help " + "[" * 500)
@example(text='"' * 8000)
async def test_nothing_that_is_typed_raises(office: Office, text: str) -> None:
    said = await office.types(text)
    assert BROKEN not in said, text
    assert said, "never silent"
    left = await office.pool.fetchval("select count(*) from inbox where done_at is null")
    assert left == 0


async def session(office: Office) -> int:
    """A conversation with two messages; its number."""
    number = await office.pool.fetchval(
        "insert into sessions (agent, room_id) values ('memtrix', '!room') returning id"
    )
    await office.pool.execute(
        "insert into messages (session_id, role, text) values ($1, 'user', 'Hi.'),"
        " ($1, 'assistant', 'Hello.')",
        number,
    )
    return int(number)


async def going_on(office: Office) -> int:
    return int(await office.pool.fetchval("select count(*) from sessions where ended_at is null"))


async def none_open(office: Office) -> bool:
    return not await ids(office)


async def ids(office: Office) -> list[int]:
    rows = await office.pool.fetch("select id from confirmations where state = 'open' order by id")
    return [row["id"] for row in rows]


async def renumber(office: Office) -> None:
    """Let the next question be number 1, whatever other tests have asked."""
    await office.pool.execute("alter sequence confirmations_id_seq restart")
