"""Several processes on one database: any of them may die, and nobody notices."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memtrix_as.local.ports import free_port
from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.management import admins, enter, types
from tests.rig.modes import only
from tests.rig.service import Process, Service, Worker, run
from tests.rig.settings import settings, tokens, write
from tests.rig.stage import Stage
from tests.rig.waiting import eventually

pytestmark = only("direct")


@pytest.fixture
async def front(stage: Stage, model: ScriptedModel, tmp_path: Path) -> AsyncIterator[Process]:
    """The service as a process that takes no turns: what is answered, a worker has answered."""
    process = Process(tmp_path, stage.door, stage.database.dsn, model.url)
    process.arguments = ["--no-turns"]
    await stage.door.lead_to(process.url)
    yield process
    await process.stop()


async def test_a_worker_answers_what_the_service_takes_in(
    front: Process, stage: Stage, model: ScriptedModel
) -> None:
    await front.start()
    async with Worker(front):
        chat = await stage.chat()
    model.says("Here I am.")
    await chat.send("is anybody there?")
    await asyncio.sleep(1)
    assert not model.requests, "the service leaves turns to others"
    async with Worker(front) as worker:
        assert await chat.reply() == "Here I am."
        assert await worker.stop(signal.SIGTERM) == 0
        assert "Traceback" not in worker.text()


async def test_a_worker_that_is_killed_amid_a_turn_loses_nothing(
    process: Process, stage: Stage, model: ScriptedModel
) -> None:
    """Eight turns are under way, four in each process; those of the dead one begin anew."""
    process.set("limits.concurrent_turns", 4)
    await process.restart()
    human = await stage.person()
    chats = [await stage.chat(human) for _ in range(8)]
    model.default = lambda request: f"answer to {request.last_user}"
    async with Worker(process) as worker:
        model.hold()
        for n, chat in enumerate(chats):
            await chat.send(f"question {n}")
        await model.asked(8)
        before = len(model.requests)
        await worker.stop()
        model.release()
        for n, chat in enumerate(chats):
            assert await chat.reply() == f"answer to question {n}"
        for n, chat in enumerate(chats):
            assert await chat.ask(f"more {n}") == f"answer to more {n}"
            assert chat.replies() == [f"answer to question {n}", f"answer to more {n}"]
        assert len(model.requests) - before - 8 == 4, "as many as the dead one had"


async def test_the_service_dies_and_a_worker_finishes_its_turns(
    process: Process, stage: Stage, model: ScriptedModel
) -> None:
    human = await stage.person()
    chats = [await stage.chat(human) for _ in range(6)]
    model.default = lambda request: f"answer to {request.last_user}"
    async with Worker(process):
        model.hold()
        for n, chat in enumerate(chats):
            await chat.send(f"question {n}")
        await model.asked(6)
        await process.kill9()
        model.release()
        for n, chat in enumerate(chats):
            assert await chat.reply() == f"answer to question {n}"
        await process.start()
        assert await chats[0].ask("and now?") == "answer to and now?"


async def test_a_turn_in_a_worker_is_stopped_and_asks_and_goes_on(
    front: Process, stage: Stage, model: ScriptedModel
) -> None:
    """What a human says comes in at the service, and is heard wherever the turn is."""
    await front.start()
    async with Worker(front):
        chat = await stage.chat()
        model.says("never heard", hold=True)
        await chat.send("think for ever")
        await model.asked(1)
        await chat.send("!stop")
        await chat.until(lambda: any("topped" in n for n in chat.notices()), "that it stopped")
        model.release()
        model.forget()
        (front.folder / "workspace" / "old.txt").write_text("old")
        model.calls("delete_file", path="old.txt")
        model.says("It is gone.")
        await chat.send("delete old.txt")
        await chat.until(lambda: any("delete_file" in n for n in chat.notices()), "the question")
        await chat.send("yes")
        assert await chat.reply() == "It is gone."
        assert not (front.folder / "workspace" / "old.txt").exists()


async def test_an_agent_that_a_worker_makes_is_there_for_all(
    front: Process, stage: Stage, model: ScriptedModel
) -> None:
    ann = await stage.person("ann")
    admins(front, ann)
    await front.start()
    async with Worker(front):
        office = await enter(stage, ann)
        assert "2 processes" in await types(office, "status")
        assert "Nora" in await types(office, 'agent create Nora "knows gardens"')
        nora = stage.door.user(f"{stage.door.registration['id']}_nora")
        room = await ann.create_room(nora, is_direct=True)
        await ann.sees_member(room, nora)
        model.says("I am Nora.")
        assert await Chat(ann, room, nora).ask("who are you?") == "I am Nora."


@pytest.mark.parametrize("places", [1])
async def test_what_overtakes_turns_finds_a_place_when_they_take_all(
    stopped: Service, stage: Stage, model: ScriptedModel, places: int
) -> None:
    stopped.set("limits.concurrent_turns", places)
    await stopped.start()
    chat = await stage.chat()
    model.says("never heard", hold=True)
    await chat.send("think for ever")
    await model.asked(1)
    await chat.send("!stop")
    await chat.until(lambda: any("topped" in n for n in chat.notices()), "that it stopped")
    model.release()


async def test_a_busy_room_lets_the_others_pass(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    """One place for all: a busy room stands in line again after each of its messages."""
    stopped.set("limits.concurrent_turns", 1)
    await stopped.start()
    human = await stage.person()
    busy, quiet = await stage.chat(human), await stage.chat(human)
    model.default = lambda request: f"answer to {request.last_user}"
    model.hold()
    await busy.says(*(f"busy {n}" for n in range(5)))
    await model.asked(1)
    await quiet.send("quiet")
    waiting = "select from inbox where payload->'content'->>'body' = 'quiet'"
    await eventually(lambda: stage.database.fetch(waiting), "its message")
    model.release()
    assert await quiet.reply() == "answer to quiet"
    assert [await busy.reply() for _ in range(5)] == [f"answer to busy {n}" for n in range(5)]
    asked = [request.last_user for request in model.requests]
    assert asked.index("quiet") <= 2, "what stood in line before it, and not all that came since"


async def test_a_worker_has_a_port_for_those_who_watch(
    front: Process, stage: Stage, model: ScriptedModel
) -> None:
    await front.start()
    port = free_port()
    async with Worker(front, "--metrics-port", str(port)):
        async with stage.door.api.http.get(f"http://127.0.0.1:{port}/readyz") as answer:
            assert (answer.status, await answer.json()) == (200, {"queue": True})
        chat = await stage.chat()
        model.says("Counted.")
        assert await chat.ask("count me") == "Counted."
        async with stage.door.api.http.get(f"http://127.0.0.1:{port}/metrics") as answer:
            assert 'memtrix_turns_total{outcome="done"} 1.0' in await answer.text()


async def test_a_worker_without_a_service_says_what_to_do(stopped: Service) -> None:
    log = stopped.folder / "worker.log"
    values = settings(tokens("memtrix"), "http://127.0.0.1:9", 1, "embedded", "http://127.0.0.1:9")
    child = await run(write(stopped.folder / "lonely.yaml", values), log, ["--worker"])
    async with asyncio.timeout(60):
        assert await child.wait() == 1
    assert "There is no service on this database yet: start it first" in log.read_text()
