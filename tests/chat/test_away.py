"""Database or homeserver away for a while: nothing is lost, and it heals by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer

from memtrix_as.matrix import catchup
from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.door import Door
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage

SEND = r"PUT .*/send/m\.room\.message/"


async def test_without_the_database_a_transaction_is_repeated(
    chat: Chat, stage: Stage, door: Door, model: ScriptedModel
) -> None:
    model.says("Before.", "After.")
    assert await chat.ask("before") == "Before."
    await stage.database.stop()
    try:
        event_id = await chat.send("are you there?")
        await door.until(lambda: door.pushes[-1].status == 503, "a 503 for the homeserver")
    finally:
        await stage.database.start()
    if door.software == "conduit":  # it tries again at the next event only
        await chat.human.set_state(chat.room, "m.room.topic", {"topic": "wake up"})
        await asyncio.sleep(0.4)
        await chat.human.set_state(chat.room, "m.room.topic", {"topic": "wake up again"})
    await door.delivered(event_id)
    assert await chat.reply() == "After."
    assert len(model.requests) == 2


@only("direct")
async def test_the_database_goes_away_during_a_turn(
    chat: Chat, stage: Stage, model: ScriptedModel
) -> None:
    model.hold()
    await chat.send("think hard")
    await model.asked(1)
    await stage.database.stop()
    model.release()
    model.forget()
    model.by_default("The answer.")
    await stage.database.start()
    assert await chat.reply(timeout=40) == "The answer."
    assert await chat.ask("and now?") == "The answer."
    assert chat.replies() == ["The answer."] * 2


async def test_an_answer_waits_for_the_homeserver(
    chat: Chat, door: Door, model: ScriptedModel
) -> None:
    model.hold()
    model.says("The answer.")
    await chat.send("hello?")
    await model.asked(1)
    door.cut(pushes=False)
    model.release()
    await door.sees(SEND)
    door.heal()
    assert await chat.reply() == "The answer."
    model.says("Again.")
    assert await chat.ask("again?") == "Again."
    assert chat.replies() == ["The answer.", "Again."]


@only("direct")
async def test_limits_and_hiccups_of_the_homeserver_are_waited_out(
    chat: Chat, door: Door, model: ScriptedModel
) -> None:
    model.says("The answer.")
    door.refuse(SEND, 429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 200})
    door.refuse(SEND, 502, {})
    door.refuse(SEND, 500, {"errcode": "M_UNKNOWN"})
    assert await chat.ask("hello?") == "The answer."
    assert chat.replies() == ["The answer."]
    keys = {call.path.rsplit("/", 1)[1] for call in door.seen(SEND)}
    assert len(keys) == 1, "every try has the same transaction id"


@only("direct")
async def test_an_answer_that_arrived_unheard_is_not_said_twice(
    chat: Chat, door: Door, model: ScriptedModel
) -> None:
    model.says("The answer.")
    held = door.hold(SEND, answers=True)
    await chat.send("hello?")
    await door.catches(held)
    held.drop()
    door.heal()
    assert await chat.reply() == "The answer."
    model.says("The fence.")
    assert await chat.ask("ping") == "The fence."
    assert chat.replies() == ["The answer.", "The fence."]


@only("direct")
async def test_a_slow_homeserver(chat: Chat, door: Door, model: ScriptedModel) -> None:
    door.delay(0.3)
    model.says("One.", "Two.")
    await chat.says("first", "second")
    assert [await chat.reply(), await chat.reply()] == ["One.", "Two."]


async def test_messages_during_a_restart_in_the_same_process(
    chat: Chat, service: Service, door: Door, model: ScriptedModel
) -> None:
    model.says("Before.", "During.", "After.")
    assert await chat.ask("before") == "Before."
    await service.stop()
    await chat.send("during")
    await service.start()
    assert await chat.reply() == "During."
    assert await chat.ask("after") == "After."
    # A display name is written into every room, so it is told once and not at each start.
    assert len(door.seen(r"PUT .*/displayname")) <= 1


@only("direct")
async def test_a_restart_keeps_session_and_switches(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    model.says("Hello Ann.", "You are Ann.")
    await chat.ask("I am Ann.")
    await chat.send("/verbose on")
    await chat.notice()
    await service.restart()
    assert await chat.ask("who am I?") == "You are Ann."
    assert "I am Ann." in str(model.requests[-1].messages)
    await chat.send("/verbose")
    assert "is on" in await chat.notice()


@only("direct")
async def test_starting_before_the_homeserver(
    stage: Stage, stopped: Service, door: Door, model: ScriptedModel
) -> None:
    door.cut()
    starting = asyncio.create_task(stopped.start())
    await door.sees(r"POST .*/register|GET .*/versions|GET .*/whoami", 2)
    door.heal()
    await starting
    model.says("Hello.")
    assert await (await stage.chat()).ask("hi") == "Hello."


@asynccontextmanager
async def swallowing(door: Door) -> AsyncIterator[None]:
    """Meanwhile all that is pushed to us is acknowledged, and nobody has it."""

    async def swallow(_: web.Request) -> web.Response:
        return web.json_response({})

    nobody = web.Application()
    nobody.router.add_route("*", "/{path:.*}", swallow)
    async with TestServer(nobody) as server:
        await door.lead_to(str(server.make_url("")).rstrip("/"))
        yield


@only("direct")
async def test_what_the_homeserver_leaves_behind_is_found(
    chat: Chat, service: Service, door: Door, model: ScriptedModel
) -> None:
    """Synapse can keep an event for itself when it comes just as the service is back."""
    model.says("Before.")
    assert await chat.ask("before") == "Before."
    await service.stop()
    async with swallowing(door):
        await door.delivered(await chat.send("are you there?"))
    await door.lead_to(service.url)
    model.says("After.")
    await service.start()
    assert await chat.reply() == "After."
    model.says("Once.")
    assert await chat.ask("and now?") == "Once."
    assert chat.replies() == ["Before.", "After.", "Once."]


@only("direct")
async def test_what_it_leaves_behind_after_our_first_look_is_found(
    chat: Chat, service: Service, door: Door, model: ScriptedModel
) -> None:
    model.says("Before.", "After.")
    assert await chat.ask("before") == "Before."
    await service.restart()
    await asyncio.sleep(catchup.SETTLED + 1.5)
    async with swallowing(door):
        await door.delivered(await chat.send("are you there?"))
    await door.lead_to(service.url)
    assert await chat.reply() == "After."
    assert chat.replies() == ["Before.", "After."]


@only("direct")
async def test_it_stops_right_after_the_database_was_away(
    chat: Chat, service: Service, stage: Stage
) -> None:
    await stage.database.stop()
    await asyncio.sleep(0.3)
    await stage.database.start()
    await asyncio.wait_for(service.stop(), 15)


async def test_what_comes_too_late_is_told_so(
    chat: Chat, service: Service, stage: Stage, model: ScriptedModel
) -> None:
    model.says("Before.")
    assert await chat.ask("before") == "Before."
    await service.stop()
    service.set("limits.catch_up_hours", 0.0005)
    await chat.send("are you there?")
    await chat.send("!clear")
    await asyncio.sleep(3)
    await service.start()
    await chat.until(lambda: len(chat.notices()) == 2, "both told")
    assert {n.partition(" reached")[0] for n in chat.notices()} == {"This message", "This command"}
    assert len(model.requests) == 1
