"""A terminal beside the running service: each shows its own, and one memory is behind both."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from memtrix_as.db import inbox
from memtrix_as.db.inbox import Arrival
from memtrix_as.db.pool import connect
from memtrix_as.testing import ScriptedModel
from tests.rig.database import Database
from tests.rig.terminal import ANN, Installation
from tests.rig.waiting import eventually

MAIN = "@memtrix:hs.test"


@asynccontextmanager
async def running(
    installation: Installation, works: Callable[[Path], Awaitable[bool | None]]
) -> AsyncIterator[Path]:
    """The service on the same configuration, its homeserver away; until `works` says yes."""
    chat = installation.command()
    log = installation.folder / "service.log"
    with log.open("wb") as output:
        child = await asyncio.create_subprocess_exec(
            *chat[:3], *chat[4:], env=installation.environment(), cwd=installation.folder,
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        assert await eventually(lambda: works(log), "the service", timeout=120)
        yield log
    finally:
        child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(90):
            await child.wait()


async def test_beside_the_service(
    installation: Installation, model: ScriptedModel, database: Database
) -> None:
    async def works(_: Path) -> bool:
        return bool(await database.fetch("select from procrastinate_workers"))

    async def said_in_a_room(text: str) -> None:
        pool = await connect(database.dsn)
        event = {
            "event_id": "$one", "room_id": "!room:hs.test", "type": "m.room.message",
            "sender": ANN, "content": {"msgtype": "m.text", "body": text},
        }  # fmt: skip
        await pool.execute("insert into rooms (room_id, synced) values ('!room:hs.test', true)")
        await pool.execute(
            "insert into members values ('!room:hs.test', $1, null), ('!room:hs.test', $2, null)",
            MAIN, ANN,
        )  # fmt: skip
        lane = inbox.turns("memtrix", "!room:hs.test")
        await inbox.put(pool, [Arrival(lane, "message", "!room:hs.test", "memtrix", "$one", event)])
        await pool.close()

    async def indexed() -> bool:
        return bool(await database.fetch("select from turns where indexed and state = 'done'"))

    model.on("My bicycle Rocinante is red.").says("Noted in the room.")
    model.on("Is my").says("It is red.")
    async with running(installation, works):
        terminal = await installation.sit_down()
        await said_in_a_room("My bicycle Rocinante is red.")
        assert await eventually(indexed, "the room's turn", timeout=90)
        await terminal.says("Is my bicycle Rocinante red?", "It is red.")
        for number in range(4):
            await terminal.says(f"number {number}", f"You said: number {number}")
        assert "Noted in the room." not in terminal.text
    asked = next(r for r in model.requests if "Is my" in r.last_user)
    assert "My bicycle Rocinante is red." in str(asked.messages[-1]["content"])
    rows = await database.fetch(
        "select left(room_id, 1) as of, sent_at is not null as sent, failed from outbox"
        " where kind = 'text'"
    )
    room = [row for row in rows if row["of"] == "!"]
    here = [row for row in rows if row["of"] == ">"]
    assert len(room) == 1 and not room[0]["sent"]  # the service's, for when its homeserver is back
    assert len(here) == 5 and all(row["sent"] and row["failed"] is None for row in here)


async def test_an_embedded_database_is_shared(
    installation: Installation, model: ScriptedModel
) -> None:
    installation.settings["appservice"]["database"] = "embedded"
    terminal = await installation.sit_down(patience=180.0)
    await terminal.says("hello", "You said: hello")

    async def works(log: Path) -> bool:
        return "does not answer" in await asyncio.to_thread(log.read_text)

    async with running(installation, works):
        await terminal.says("and now?", "You said: and now?")
        code, output, _ = await installation.run("--once", "a third")
        assert (code, output) == (0, "You said: a third\n")
        terminal.types("\x04")
        await terminal.shows("it ends when they do")
        assert not terminal.ended
    assert await terminal.ends() == 0
    assert "Traceback" not in terminal.text
