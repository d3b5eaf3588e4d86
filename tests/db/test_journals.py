"""Journals in the database: nothing of them is lost, and the index is always in step."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from memtrix_as.db import journals as rows
from memtrix_as.db import passages
from memtrix_as.db.journals import Entry
from memtrix_as.errors import JournalChanged, JournalError
from memtrix_as.memory import index
from memtrix_as.memory.journals import Change, Journals
from memtrix_as.memory.search import Hit, search
from tests.db.test_passages import counts_are_right
from tests.rig.database import Database
from tests.rig.memories import two_agents

DAY = date(2026, 3, 18)
ANNA, BEN = "@anna:memtrix.local", "@ben:memtrix.local"
EVERYBODY = ("*",)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Any]:
    async with two_agents(database.dsn) as pool:
        yield pool


@pytest.fixture
def journals(pool: Any) -> Journals:
    config: Any = SimpleNamespace(timezone=ZoneInfo("UTC"))
    return Journals(pool, config)


async def note(journals: Journals, *texts: str, section: str = "Notes", **how: Any) -> int:
    how = {"people": [ANNA], **how}
    return await journals.append("memtrix", DAY, section, texts, **how)


async def texts(journals: Journals, people: Any = None) -> list[str]:
    return [entry.text for entry in (await journals.read("memtrix", DAY, people)).entries]


async def ask(pool: Any, question: str, people: Any = None, agent: str = "memtrix") -> list[Hit]:
    return await search(pool, [], question, agent=agent, people=people)


async def in_step(pool: Any, journals: Journals) -> bool:
    """Whether indexing everything anew would change nothing."""

    async def stored() -> list[Any]:
        return list(
            await pool.fetch(
                "select source, start, heading, parts, events, room_id, people from passages p"
                " join audiences a on a.id = p.audience order by source, start"
            )
        )

    before = await stored()
    await pool.execute("delete from passages where source like 'journal%'")
    for day in await journals.days("memtrix", None):
        await journals.index("memtrix", day)
    return before == await stored() and await counts_are_right(pool)


async def test_what_is_noted_is_read_and_found(pool: Any, journals: Journals) -> None:
    assert await note(journals, "- The boat is called Nessie.\n- It is red.", "We had soup.") == 3
    found = await journals.read("memtrix", DAY, [ANNA])
    assert found.markdown == (
        "# 2026-03-18\n\n## Notes\n\n- The boat is called Nessie.\n- It is red.\n- We had soup.\n"
    )
    hit = (await ask(pool, "boat", [ANNA]))[0]
    assert (hit.day, hit.heading) == (DAY, "Notes") and "Nessie" in hit.text
    assert not await ask(pool, "boat", [ANNA], agent="coder")


async def test_the_same_again_is_left_out(journals: Journals) -> None:
    assert await note(journals, "- A boat.", "A boat.") == 1
    assert await note(journals, "- A boat.", "- A car.") == 1
    assert await note(journals, "- A boat.", people=[ANNA, BEN]) == 1, "for others it is news"
    assert await note(journals, "- A boat.", people=[BEN]) == 0, "but Ben was told it with Anna"
    assert await texts(journals) == ["- A boat.", "- A car.", "- A boat."]


async def test_a_hit_leads_to_the_message(pool: Any, journals: Journals) -> None:
    await note(journals, "- The boat is red.", events=["$a", "$b"], messages=[3], room_id="!r:x")
    await note(journals, "- The car is blue.", events=["$c"], room_id="!r:x")
    hits = [(await ask(pool, word))[0] for word in ("boat", "car")]
    assert [(hit.room_id, hit.event) for hit in hits] == [("!r:x", "$a"), ("!r:x", "$c")]


async def test_what_was_made_of_a_withdrawn_message_goes(pool: Any, journals: Journals) -> None:
    await note(journals, "- The boat is red.", events=["$a", "$b"], messages=[3], room_id="!r:x")
    await note(journals, "- The car is blue.", events=["$c"], room_id="!r:x")
    async with pool.acquire() as connection, connection.transaction():
        await journals.withdraw(connection, "!other:x", "$b")
        await journals.withdraw(connection, "!r:x", "$b")
    assert not await ask(pool, "boat") and await ask(pool, "car")
    assert await texts(journals) == ["- The car is blue."]


async def test_each_reads_and_finds_what_is_theirs(pool: Any, journals: Journals) -> None:
    await note(journals, "- Anna's secret.")
    await note(journals, "- Told to both.", people=[BEN, ANNA])
    await note(journals, "- For everybody.", people=EVERYBODY)
    assert await texts(journals, [ANNA]) == [
        "- Anna's secret.",
        "- Told to both.",
        "- For everybody.",
    ]
    assert await texts(journals, [BEN]) == ["- Told to both.", "- For everybody."]
    assert await texts(journals, [ANNA, BEN]) == ["- Told to both.", "- For everybody."]
    assert await texts(journals, ["@eve:else"]) == ["- For everybody."]
    assert not await ask(pool, "secret", [BEN]) and await ask(pool, "secret", [ANNA])
    assert not await ask(pool, "secret", [ANNA, BEN])
    assert "secret" not in (await ask(pool, "everybody", [BEN]))[0].text
    assert set(await passages.sources(pool, "memtrix")) == {
        index.journal_source(DAY, people, None) for people in ([ANNA], [ANNA, BEN], EVERYBODY)
    }
    assert await journals.days("memtrix", [BEN]) == [DAY]


async def test_twenty_at_once_lose_nothing(pool: Any, journals: Journals) -> None:
    async def writer(n: int) -> None:
        for m in range(3):
            await note(journals, f"- Entry {n} of round {m}.", people=[ANNA] if n % 2 else [BEN])

    await asyncio.gather(*(writer(n) for n in range(20)))
    assert sorted(await texts(journals)) == sorted(
        f"- Entry {n} of round {m}." for n in range(20) for m in range(3)
    )
    assert len({e.id for e in (await journals.read("memtrix", DAY, None)).entries}) == 60
    assert await in_step(pool, journals)


async def test_a_rewrite_and_appends_at_once_lose_nothing(pool: Any, journals: Journals) -> None:
    await note(journals, "- one", "- two")
    seen = (await journals.read("memtrix", DAY, [ANNA])).hash

    async def rewrite(n: int) -> bool:
        try:
            await journals.rewrite(
                "memtrix", DAY, f"## Notes\n- two\n- new {n}", seen=seen, people=[ANNA]
            )
        except JournalChanged:
            return False
        return True

    done, *_ = await asyncio.gather(
        asyncio.gather(*(rewrite(n) for n in range(5))),
        *(note(journals, f"- more {n}") for n in range(5)),
    )
    left = await texts(journals)
    assert sum(done) <= 1
    assert {f"- more {n}" for n in range(5)} <= set(left) and "- two" in left
    assert ("- one" in left) == (not any(done))
    assert await in_step(pool, journals)


async def test_a_rewrite_keeps_what_it_does_not_change(pool: Any, journals: Journals) -> None:
    await note(journals, "- The boat is red.", events=["$a"], messages=[7], room_id="!r:x")
    await note(journals, "- The car is blue.", people=[ANNA, BEN], author="upkeep")
    await note(journals, "- Ben's secret.", people=[BEN])
    before = await journals.read("memtrix", DAY, [ANNA])
    change = await journals.rewrite(
        "memtrix",
        DAY,
        "# 2026-03-18\n## Learned\n- It rains.\n\n## Notes\n- The car is blue.\n- The boat is red.",
        seen=before.hash,
        people=[ANNA],
        events=["$z"],
    )
    assert change == Change(added=1, removed=0, kept=2)
    after = await journals.read("memtrix", DAY, [ANNA])
    rain, car, boat = after.entries
    assert [e.text for e in after.entries] == [
        "- It rains.", "- The car is blue.", "- The boat is red."
    ]  # fmt: skip
    assert (boat, car) == before.entries
    assert (rain.people, rain.events, rain.section) == ((ANNA,), ("$z",), "Learned")
    assert "- Ben's secret." in await texts(journals)
    gone = await journals.rewrite(
        "memtrix", DAY, "## Notes\n- The car is blue.", seen=after.hash, people=[ANNA]
    )
    assert gone == Change(removed=2, kept=1)
    assert not await ask(pool, "boat") and await ask(pool, "Ben's secret", [BEN])
    kept = await pool.fetch("select text from journal_entries where removed_at is not null")
    assert {row["text"] for row in kept} == {"- The boat is red.", "- It rains."}
    assert await in_step(pool, journals)


async def test_what_was_not_seen_is_not_overwritten(journals: Journals) -> None:
    await note(journals, "- one")
    with pytest.raises(JournalChanged, match="2026-03-18"):
        await journals.rewrite("memtrix", DAY, "- other", seen=b"", people=[ANNA])
    seen = (await journals.read("memtrix", DAY, [ANNA])).hash
    await note(journals, "- two")
    with pytest.raises(JournalChanged):
        await journals.rewrite("memtrix", DAY, "- other", seen=seen, people=[ANNA])
    assert await texts(journals) == ["- one", "- two"]


async def test_an_addition_to_what_was_seen_takes_nothing_out(journals: Journals) -> None:
    await note(journals, "- one")
    seen = (await journals.read("memtrix", DAY, [ANNA])).hash
    await note(journals, "- two")
    text = "## Notes\n- one\n- three"
    assert await journals.rewrite("memtrix", DAY, text, seen=seen, people=[ANNA]) == Change(
        added=1, kept=1
    )
    assert sorted(await texts(journals)) == ["- one", "- three", "- two"]
    whole = "## Notes\n- one\n- two\n- three\n- four"
    await journals.rewrite("memtrix", DAY, whole, seen=b"", people=[ANNA])
    assert await texts(journals) == ["- one", "- two", "- three", "- four"]


async def test_it_is_bounded(journals: Journals) -> None:
    with pytest.raises(JournalError, match="4,000"):
        await note(journals, "x" * 4_001)
    for n in range(49):
        await note(journals, f"- {n} " + "y" * 3_990)
    with pytest.raises(JournalError, match="200,000"):
        await note(journals, *(f"- more {n} " + "z" * 3_980 for n in range(2)))
    assert len(await texts(journals)) == 49
    with pytest.raises(JournalError, match="section"):
        await note(journals, "x", section="long " * 50)


async def test_a_crash_before_the_commit_leaves_nothing(pool: Any, journals: Journals) -> None:
    await note(journals, "- one")
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        assert await note(journals, "- The boat is red.", db=connection) == 1
        await transaction.rollback()
    assert await texts(journals) == ["- one"] and not await ask(pool, "boat")
    task = asyncio.create_task(note(journals, *(f"- The boat {n}." for n in range(200))))
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(await texts(journals)) in (1, 201)
    assert await in_step(pool, journals)


async def test_a_file_is_brought_in_once(pool: Any, journals: Journals) -> None:
    def read(*texts: str) -> list[Entry]:
        return [Entry("Notes", text, (ANNA,), author="import", imported=True) for text in texts]

    await note(journals, "- The agent's own.", "- Both have it.")
    brought = read("- From a file.", "- Both have it.", "- Twice.", "- Twice.")
    assert await journals.bring_in("memtrix", DAY, brought) == Change(added=3, kept=1)
    ids = [e.id for e in (await journals.read("memtrix", DAY, None)).entries]
    assert await journals.bring_in("memtrix", DAY, brought) == Change(kept=4)
    assert [e.id for e in (await journals.read("memtrix", DAY, None)).entries] == ids
    changed = read("- Changed in a file.", "- Twice.", "- Twice.")
    assert await journals.bring_in("memtrix", DAY, changed) == Change(added=1, removed=1, kept=2)
    assert sorted(await texts(journals)) == [
        "- Both have it.", "- Changed in a file.", "- The agent's own.", "- Twice.", "- Twice.",
    ]  # fmt: skip
    assert not await ask(pool, "From") and await in_step(pool, journals)


async def test_messages_of_events_are_found_again(pool: Any, journals: Journals) -> None:
    session = await pool.fetchval(
        "insert into sessions (agent, room_id) values ('memtrix', '!r:x') returning id"
    )
    message = await pool.fetchval(
        "insert into messages (session_id, role, text, event_id) values ($1, 'user', 'x', '$a')"
        " returning id",
        session,
    )
    entry = Entry("Notes", "- a", (ANNA,), "!r:x", (), ("$a", "$gone"), "agent", imported=True)
    await journals.bring_in("memtrix", DAY, [entry])
    (found,) = (await journals.read("memtrix", DAY, None)).entries
    assert (found.messages, found.events, found.author) == ((message,), ("$a", "$gone"), "agent")
    assert await rows.messages_of(pool, "coder", ["$a"]) == {}


async def test_a_session_knows_what_it_wrote_itself(pool: Any, journals: Journals) -> None:
    session = await pool.fetchval(
        "insert into sessions (agent, room_id) values ('memtrix', '!r:x') returning id"
    )
    for _ in range(2):
        await pool.execute("insert into messages (session_id, role) values ($1, 'user')", session)
    text = "## Notes\n- one"
    how: Any = {"people": [ANNA], "session_id": session}
    await journals.rewrite("memtrix", DAY, text, seen=b"", **how)
    newest = await pool.fetchval("select max(id) from messages")
    assert await pool.fetchval("select journaled_to from sessions") == newest
    await journals.append("memtrix", DAY, "Notes", ["- two"], **how)
    seen = await journals.looked(session, DAY)
    assert seen == (await journals.read("memtrix", DAY, [ANNA])).hash
    await journals.rewrite("memtrix", DAY, "## Notes\n- three", seen=seen, **how)
    await note(journals, "- by another")
    await journals.append("memtrix", DAY, "Notes", ["- four"], **how)
    seen = await journals.looked(session, DAY)
    with pytest.raises(JournalChanged):
        await journals.rewrite("memtrix", DAY, "- five", seen=seen or b"", **how)
