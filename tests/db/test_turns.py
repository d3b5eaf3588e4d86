"""Two hands on one turn: whoever has lost it stores nothing, and nothing crosses rooms."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from memtrix_as.db import agents, corrections, inbox, outbox, queue, sessions, turns, undeliverable
from memtrix_as.db.agents import Agent
from memtrix_as.db.inbox import Arrival, Item
from memtrix_as.db.pool import Pool, connect
from memtrix_as.db.queue import Lease
from memtrix_as.db.turns import Ending, Outgoing, Said, Turn
from memtrix_as.errors import LostTurn
from memtrix_as.messages import Message, Place, ToolCall, Usage
from tests.rig.database import Database

ROOM, OTHER = "!room", "!other"
PLACE = Place(ROOM, "memtrix")
LANE = inbox.turns("memtrix", ROOM)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await connect(database.dsn)
    main = Agent("memtrix", "@memtrix:hs", "Memtrix", True, "m", False, False)
    await agents.keep_main(pool, main)
    yield pool
    await pool.close()


async def worker(pool: Pool, lane: str = LANE) -> Lease:
    """Fetch the lane's waking job as a worker does."""
    worker_id = await pool.fetchval("insert into procrastinate_workers default values returning id")
    job = await pool.fetchrow("select id from procrastinate_fetch_job_v2(null, $1)", worker_id)
    assert job["id"] is not None
    return Lease(job["id"], worker_id)


async def arrive(pool: Pool, text: str = "hello", room: str = ROOM, event: str = "$1") -> None:
    raw: dict[str, Any] = {"sender": "@ann:hs", "content": {"body": text}}
    lane = inbox.turns("memtrix", room)
    await inbox.put(pool, [Arrival(lane, "message", room, "memtrix", event, raw)])


async def begun(pool: Pool) -> tuple[Item, Lease, Turn]:
    await arrive(pool)
    lease = await worker(pool)
    item = await inbox.claim(pool, LANE, lease)
    assert item is not None
    return item, lease, await turns.begin(pool, item, "@ann:hs", None, [said(item)])


def said(item: Item) -> Said:
    return Said(item.id, item.event_id, Message("user", "hello"), 7)


def ending(text: str) -> Ending:
    return Ending("done", (Message("assistant", text), 5), words=[Outgoing(text)])


async def test_a_zombie_stores_nothing(pool: Pool) -> None:
    item, lost, turn = await begun(pool)
    # Its worker's connection is gone, and with it the lock that showed it alive.
    await queue.recover(pool)
    lease = await worker(pool)
    again = await inbox.claim(pool, LANE, lease)
    assert again is not None and again.id == item.id
    assert await inbox.claim(pool, LANE, lost) is None
    asked = (Message("assistant", calls=(ToolCall("c", "look"),)), 3)
    append = sessions.append
    stored = await append(pool, lost, turn.session_id, turn.id, asked, model="m", usage=Usage())
    assert stored is None
    stored = await append(pool, lease, turn.session_id, turn.id, asked, model="m", usage=Usage())
    assert stored is not None
    with pytest.raises(LostTurn):
        await turns.start_call(pool, lost, stored, "c")
    assert await turns.start_call(pool, lease, stored, "c")
    assert not await turns.start_call(pool, lease, stored, "c"), "it had begun already"
    with pytest.raises(LostTurn):
        await turns.end(pool, item, lost, turn, PLACE, ending("from the grave"))
    await turns.end(pool, again, lease, turn, PLACE, ending("alive"))
    assert [row.text for row in await outbox.waiting(pool, LANE)] == ["alive"]
    with pytest.raises(LostTurn):
        await turns.end(pool, again, lease, turn, PLACE, ending("twice"))


async def test_what_was_told_to_stop_ends_no_turn(pool: Pool) -> None:
    """The cancellation takes a moment to arrive; until then the old run might answer."""
    item, lease, turn = await begun(pool)
    async with pool.acquire() as connection, connection.transaction():
        new = (Message("user", "goodbye"), 7)
        await corrections.restart(connection, LANE, turn.id)
        await corrections.resay(connection, turn.id, item.event_id or "", new)
    with pytest.raises(LostTurn):
        await turns.end(pool, item, lease, turn, PLACE, ending("Hello!"))
    session = await sessions.load(pool, turn.session_id, 1000)
    assert [s.message.text for s in session.messages] == ["goodbye"]


async def test_a_message_that_is_changed_before_its_turn_begins_is_read_again(pool: Pool) -> None:
    await arrive(pool, "to Bern")
    lease = await worker(pool)
    item = await inbox.claim(pool, LANE, lease)
    assert item is not None
    edit = {"sender": "@ann:hs", "content": {"m.new_content": {"body": "to Berlin"}}}
    await inbox.put(pool, [Arrival("! x", "edit", ROOM, "", "$2", edit)])
    edit_id = await pool.fetchval("select id from inbox where kind = 'edit'")
    async with pool.acquire() as connection, connection.transaction():
        assert await corrections.reword(connection, edit_id, item.id)
    with pytest.raises(LostTurn):
        await turns.begin(pool, item, "@ann:hs", None, [said(item)])
    fresh = await inbox.claim(pool, LANE, lease)
    assert fresh is not None and fresh.payload["content"]["body"] == "to Berlin"
    assert (await turns.begin(pool, fresh, "@ann:hs", None, [said(fresh)])).state == "running"


async def test_what_another_room_said_is_neither_quoted_nor_withdrawn(pool: Pool) -> None:
    item, lease, turn = await begun(pool)
    await turns.end(pool, item, lease, turn, PLACE, ending("a secret"))
    row = (await outbox.waiting(pool, LANE))[0]
    await outbox.sent(pool, row.id, ["$answer"])
    assert await outbox.quoted(pool, ROOM, "$answer") == "a secret"
    assert await outbox.quoted(pool, ROOM, "$1") == "hello"
    assert await outbox.quoted(pool, OTHER, "$answer") is None
    assert await outbox.quoted(pool, OTHER, "$1") is None
    async with pool.acquire() as connection, connection.transaction():
        assert await corrections.of_event(connection, OTHER, "$1") == []
        await corrections.blank(connection, OTHER, "$1")
    assert await outbox.quoted(pool, ROOM, "$1") == "hello"
    async with pool.acquire() as connection, connection.transaction():
        await corrections.blank(connection, ROOM, "$1")
    assert "withdrawn" in (await outbox.quoted(pool, ROOM, "$1") or "")
    assert "content" not in await pool.fetchval("select payload from inbox where event_id = '$1'")


async def test_a_streamed_answer_is_quoted_whole(pool: Pool) -> None:
    item, lease, turn = await begun(pool)
    draft = await outbox.draft(pool, LANE, PLACE, turn.id, "The ans", None)
    assert draft and draft == await outbox.draft(pool, LANE, PLACE, turn.id, "again", None)
    await outbox.sent(pool, draft, ["$draft"])
    await turns.end(pool, item, lease, turn, PLACE, ending("The answer is 42."))
    rows = await outbox.waiting(pool, LANE)
    assert [row.draft for row in rows] == [draft]
    assert await outbox.quoted(pool, ROOM, "$draft") == "The answer is 42."
    assert await outbox.draft(pool, LANE, PLACE, turn.id, "late", None) == draft


async def test_a_wake_is_not_lost_to_a_worker_that_looks_too_early(pool: Pool) -> None:
    """A waiting job must not be fetched before the commit of what it is to find."""
    await arrive(pool, event="$1")
    async with pool.acquire() as connection, connection.transaction():
        await arrive(connection, event="$2")
        early = await pool.fetchrow("select id from procrastinate_fetch_job_v2(null, null)")
        assert early["id"] is None
    lease = await worker(pool)
    seen = []
    while item := await inbox.claim(pool, LANE, lease):
        seen.append(item.event_id)
        await inbox.finish(pool, item.id)
    assert seen == ["$1", "$2"]


async def test_an_item_is_handled_once(pool: Pool) -> None:
    item, _, turn = await begun(pool)

    async def give_up() -> None:
        async with pool.acquire() as connection, connection.transaction():
            await turns.give_up(connection, item.id, "tired")
            await asyncio.sleep(0.05)

    outcomes = await asyncio.gather(give_up(), give_up(), return_exceptions=True)
    assert sorted(type(o) for o in outcomes if o) == [LostTurn]
    assert await pool.fetchval("select state from turns where id = $1", turn.id) == "failed"


async def test_what_is_given_up_shows_that_its_answer_was_broken_off(pool: Pool) -> None:
    item, _, turn = await begun(pool)
    await outbox.draft(pool, LANE, PLACE, turn.id, "Half an ans", None)
    async with pool.acquire() as connection, connection.transaction():
        await turns.give_up(connection, item.id, "tired")
    texts = await pool.fetch("select text from outbox where kind = 'text'")
    assert [row["text"] for row in texts] == ["Half an ans\n\n*(broken off)*"]


@pytest.mark.parametrize(("budget", "fitting"), [(30, 3), (65, 6), (10_000, 11)])
async def test_a_session_is_loaded_within_its_budget(pool: Pool, budget: int, fitting: int) -> None:
    *_, turn = await begun(pool)
    assert len((await sessions.load(pool, turn.session_id, 1)).messages) == 1, "its own turn"
    for number in range(10):
        await pool.execute(
            "insert into messages (session_id, role, text, tokens) values ($1, 'user', $2, 10)",
            turn.session_id,
            f"message {number}",
        )
    session = await sessions.load(pool, turn.session_id, budget)
    texts = ["hello", *(f"message {n}" for n in range(10))]
    assert [s.message.text for s in session.messages] == texts[-fitting:]
    assert session.complete == (fitting == 11)


async def test_what_a_tool_puts_in_is_there_once_and_not_too_often(pool: Pool) -> None:
    _, _, turn = await begun(pool)

    async def put(name: str, most: int = 2) -> bool:
        what = outbox.Once(name, "file", name, {"body": name})
        return await outbox.place(pool, LANE, PLACE, turn.id, what, most)

    assert await asyncio.gather(*(put("a") for _ in range(5))) == [True] * 5
    many = await asyncio.gather(*(put(name) for name in "bcdef"))
    assert many.count(True) == 1 and await put("a"), "what is there already is no further one"
    first, second = await outbox.waiting(pool, LANE)
    assert first.content == {"body": "a"} and second.text in "bcdef"
    await undeliverable.failed(pool, first, "banned", "M_FORBIDDEN")
    assert await outbox.placed(pool, turn.id, "file") == {second.text}
    assert await put("a"), "what could not be sent may be tried again"


async def test_an_ended_turn_puts_nothing_in(pool: Pool) -> None:
    item, lease, turn = await begun(pool)
    await turns.end(pool, item, lease, turn, PLACE, ending("done"))
    with pytest.raises(LostTurn):
        await outbox.place(pool, LANE, PLACE, turn.id, outbox.Once("a", "file", "a", {}), 9)
    async with pool.acquire() as connection, connection.transaction():
        await corrections.withdraw(connection, LANE, turn.id)
    with pytest.raises(LostTurn):
        await outbox.place(pool, LANE, PLACE, turn.id, outbox.Once("a", "file", "a", {}), 9)
