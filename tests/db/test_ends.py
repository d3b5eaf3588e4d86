"""No message of a human ends without a word, also where its agent is not there any more."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from memtrix_as.agent.people import People
from memtrix_as.config import Config
from memtrix_as.db import agents, inbox
from memtrix_as.db.inbox import Arrival, Item
from memtrix_as.db.pool import Pool, connect
from memtrix_as.db.queue import Lease
from memtrix_as.memory.company import Companies
from memtrix_as.memory.persona import Persona
from memtrix_as.messages import Message
from memtrix_as.workspace import Workspaces
from tests.rig.bench import ANN, CONTROLS, LANE, MAIN, ROOM, settle
from tests.rig.database import Database
from tests.rig.household import Household, Minds

DENNIS = "@memtrix_dennis:hs.test"
OFFICE = "!office"


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await connect(database.dsn)
    yield pool
    await pool.close()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return settle(tmp_path)


@pytest.fixture
async def house(pool: Pool, tmp_path: Path, config: Config) -> Household:
    house = Household(
        pool, tmp_path, lambda agent, messages: Message("assistant", "."), None, config
    )
    await house.move_in("dennis")
    await pool.execute("insert into members values ($1, $2, null)", ROOM, DENNIS)
    return house


async def says(pool: Pool, number: int, agent: str = "dennis", **more: Any) -> None:
    """A message of Ann to an agent."""
    event_id = f"$said{number}"
    payload = {"event_id": event_id, "room_id": ROOM, "sender": ANN, **more}
    payload["content"] = {"msgtype": "m.text", "body": f"message {number}"}
    lane = inbox.turns(agent, ROOM)
    await inbox.put(pool, [Arrival(lane, "message", ROOM, agent, event_id, payload)])


async def operators(pool: Pool) -> list[str]:
    rows = await pool.fetch("select text from outbox where room_id = $1 order by id", OFFICE)
    return [row["text"] for row in rows]


async def open_office(pool: Pool) -> None:
    await pool.execute("insert into management (room_id, alias) values ($1, 'x')", OFFICE)


async def undone(pool: Pool) -> int:
    return int(await pool.fetchval("select count(*) from inbox where done_at is null"))


def told(house: Household) -> list[tuple[str, str, str | None]]:
    return [(row.agent, row.text, row.reply_to) for row in house.room.sent]


GONE = "Dennis leaves this without an answer: it was removed meanwhile."


async def test_messages_to_who_is_gone_are_told_by_who_is_still_there(
    house: Household, pool: Pool
) -> None:
    await says(pool, 1)
    await says(pool, 2)
    await agents.leave(pool, "dennis", purge=False)
    await house.work()
    assert told(house) == [("memtrix", GONE, "$said2")] and not await undone(pool)


async def test_who_waits_while_an_agent_is_removed_is_told(
    house: Household, pool: Pool, config: Config
) -> None:
    class Doors:
        async def settle(self, agent: agents.Agent) -> agents.Agent:
            return agent

        async def dismiss(self, agent: agents.Agent) -> None: ...

    async def changed() -> None: ...

    minds = Minds(lambda agent, messages: Message("assistant", "."))
    people = People(
        pool, config, minds, Persona(pool, config), Companies(pool, config), Workspaces(config),
        Doors(), changed,
    )  # fmt: skip
    await says(pool, 1)
    await says(pool, 2)
    await people.remove(await agents.get(pool, "dennis"), purge=True)
    await house.work()
    assert told(house) == [("memtrix", GONE, "$said2")] and not await undone(pool)


async def test_where_nobody_of_ours_is_left_the_operators_are_told_once(
    house: Household, pool: Pool
) -> None:
    await open_office(pool)
    await agents.leave(pool, "dennis", purge=False)
    await pool.execute("delete from members where user_id = $1", MAIN)
    for number in range(2):
        await says(pool, number)
        await house.work()
    (text,) = await operators(pool)
    assert text == (
        f"A message to Dennis in `{ROOM}` stays without an answer: it was removed meanwhile."
    )
    assert not await undone(pool)


@pytest.mark.parametrize("begun", [False, True])
async def test_who_was_shown_the_door_leaves_no_message_unmentioned(
    house: Household, pool: Pool, begun: bool
) -> None:
    await says(pool, 1)
    if begun:  # and was cut short by a crash
        await pool.execute(
            """
            with session as (
                insert into sessions (agent, room_id) values ('dennis', $1) returning id)
            insert into turns (id, session_id, event_id, sender)
            select inbox.id, session.id, '$said1', $2 from inbox, session
            """,
            ROOM,
            ANN,
        )
    await pool.execute("delete from members where user_id = $1", DENNIS)
    await house.work()
    text = "Dennis leaves this without an answer: it is not in the room any more."
    assert told(house) == [("memtrix", text, "$said1")] and not await undone(pool)
    assert not await pool.fetchval("select count(*) from turns where state = 'running'")
    assert await pool.fetchval("select error is not null from inbox"), "so it can be tried again"


async def test_what_another_agent_handed_on_to_who_is_gone_bothers_nobody(
    house: Household, pool: Pool
) -> None:
    await open_office(pool)
    await says(pool, 1)
    await pool.execute("update inbox set hops = 1")
    await agents.leave(pool, "dennis", purge=False)
    await house.work()
    assert not told(house) and not await operators(pool) and not await undone(pool)


async def test_a_command_that_comes_days_late_is_told(house: Household, pool: Pool) -> None:
    then = int(datetime.now().timestamp() * 1000) - 50 * 3_600_000
    content = {"msgtype": "m.text", "body": "/clear"}
    for lane in (CONTROLS, LANE):
        await house.arrives("command", lane, content, origin_server_ts=then)
    await house.work()
    sent = sorted(told(house), key=lambda each: each[2] or "")
    text = "This command reached me 50 hours late, so I left it. Type it again."
    assert sent == [("memtrix", text, "$in1"), ("memtrix", text, "$in2")]
    assert not await undone(pool)


async def test_an_edit_of_a_command_that_was_carried_out_changes_nothing(
    house: Household, pool: Pool
) -> None:
    done = await house.says("/verbose on")
    failed = await house.says("a message that is given up")
    await pool.execute(
        "update inbox set attempts = array_fill(0, array[99]) where event_id = $1", failed
    )
    await house.work()
    for target in (done, failed):
        new = {"msgtype": "m.text", "body": "other words"}
        relation = {"rel_type": "m.replace", "event_id": target}
        content = {**new, "m.new_content": new, "m.relates_to": relation}
        await house.arrives("edit", inbox.controls(ROOM), content)
    await house.work()
    rows = await pool.fetch(
        "select payload->'content'->>'body' as body from inbox where event_id = any($1)"
        " order by id",
        [done, failed],
    )
    assert [row["body"] for row in rows] == ["/verbose on", "other words"]


async def test_an_invitation_of_who_is_gone_is_declined(house: Household, pool: Pool) -> None:
    declined = []

    async def decline(item: Item, _: Lease) -> bool:
        declined.append((item.agent, item.payload["state_key"]))
        return False

    house.handlers |= {"decline": decline}  # type: ignore[operator]
    payload = {"event_id": "$in", "room_id": ROOM, "sender": ANN, "state_key": DENNIS}
    lane = inbox.turns("dennis", ROOM)
    await inbox.put(pool, [Arrival(lane, "invite", ROOM, "dennis", "$in", payload)])
    await agents.leave(pool, "dennis", purge=False)
    await house.work()
    assert declined == [("", DENNIS)] and not await undone(pool)
