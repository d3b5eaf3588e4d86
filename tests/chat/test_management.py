"""The management room on a homeserver: made, found again, guarded; and what is typed in it."""

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.api import Refused
from tests.rig.asking import asked, ended, question, reactions
from tests.rig.bell import Bells
from tests.rig.chat import Chat
from tests.rig.human import Human
from tests.rig.management import admins, enter, point_alias, types
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage
from tests.rig.waiting import eventually, until

DIRECT = only("direct")


async def test_the_room_is_made_and_its_administrators_asked_in(office: Chat, stage: Stage) -> None:
    state = office.human.timeline(office.room).state
    content = {kind: event["content"] for (kind, key), event in state.items() if key == ""}
    assert content["m.room.canonical_alias"]["alias"] == stage.door.alias
    assert content["m.room.join_rules"]["join_rule"] == "invite"
    assert content["m.room.history_visibility"]["history_visibility"] == "invited"
    assert content["org.matrix.room.preview_urls"] == {"disable": True}
    assert content["m.room.power_levels"]["users"][office.human.user_id] == 50
    assert content["m.room.power_levels"]["invite"] == 50
    assert content["m.room.name"]["name"] and content["m.room.topic"]["topic"]
    assert "m.room.encryption" not in content
    greeting = await office.reply()
    assert "`help`" in greeting and stage.agent in greeting
    assert "`agent create" in await types(office, "help")


async def test_it_is_found_again_and_nobody_is_asked_twice(
    office: Chat, stopped: Service, stage: Stage
) -> None:
    shown = await types(office, "status")
    assert "running for" in shown and "fullest workspace" in shown and "of 2,000 MB" in shown
    ben = await stage.person("ben")
    admins(stopped, office.human, ben)
    await stopped.restart()
    await enter(stage, ben)
    await ben.leave(office.room)
    await office.sees_member(ben.user_id, "leave")
    await stopped.restart()
    assert "running for" in await types(office, "status")
    rooms = [call for call in stage.door.calls if call.matches("POST .*createRoom")]
    invites = [call.json["user_id"] for call in stage.door.calls if call.matches("/invite$")]
    assert len(rooms) == 1 and len(office.replies()) == 1  # greeted once
    assert invites == [office.human.user_id, ben.user_id]


async def test_an_endless_line_is_refused_and_the_next_one_answered(office: Chat) -> None:
    refused = await types(office, "agent create Dennis " + "very, very " * 1_000)
    assert "at most 8,000 characters" in refused and "nothing was done" in refused
    assert "Dennis" not in await types(office, "agents")


@DIRECT
async def test_when_all_have_left_all_are_asked_again(
    office: Chat, stopped: Service, stage: Stage
) -> None:
    await office.human.leave(office.room)
    office.human.invited.clear()
    await stopped.restart()
    back = await enter(stage, office.human)
    assert back.room == office.room
    assert "running for" in await types(back, "status")


@DIRECT
async def test_it_is_found_when_the_database_knows_nothing(
    office: Chat, stopped: Service, stage: Stage
) -> None:
    await stopped.stop()
    await stage.database.empty()
    await stopped.start()
    assert "running for" in await types(office, "status")


@DIRECT
async def test_an_alias_that_somebody_took_away_is_put_back(
    office: Chat, stopped: Service, stage: Stage
) -> None:
    await stage.door.remove_alias()
    await stopped.restart()
    await eventually(lambda: leads(stage), "the alias to lead somewhere")
    assert await leads(stage) == office.room


@DIRECT
async def test_a_strangers_room_behind_our_alias_is_not_obeyed(
    ann: Human, stopped: Service, stage: Stage, model: ScriptedModel,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    eve = await stage.person("eve")
    room = await eve.create_room(ann.user_id)
    await point_alias(stage.door, room)
    await stopped.start()
    await until(lambda: "does not trust" in caplog.text, "the log to tell")
    assert "management.room" in caplog.text and "Remove the alias" in caplog.text
    # Not even once we are in it: eve has made it.
    await eve.invite(room, stage.agent)
    await eve.sees_member(room, stage.agent)
    caplog.clear()
    await stopped.restart()
    await until(lambda: "does not trust" in caplog.text, "the log to tell")
    await ann.join(room)
    await ann.send(room, f"{stage.agent} status")
    model.by_default("I chat.")
    assert await ann.reply(room) == "I chat."


@DIRECT
async def test_an_administrators_room_behind_our_alias_is_obeyed(
    ann: Human, stopped: Service, stage: Stage
) -> None:
    room = await ann.create_room()
    await point_alias(stage.door, room)
    await stopped.start()
    await ann.invite(room, stage.agent)
    await ann.sees_member(room, stage.agent)
    await stopped.restart()
    chat = Chat(ann, room, stage.agent)
    assert "running for" in await types(chat, "status")


@DIRECT
async def test_a_homeserver_that_is_away_hinders_nothing(
    ann: Human, stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    stage.door.refuse("createRoom", 503, times=3)
    await stopped.start()
    chat = await stage.chat()
    model.says("Hello.")
    assert await chat.ask("hi") == "Hello."
    await enter(stage, ann)


@DIRECT
async def test_two_processes_make_one_room(ann: Human, stopped: Service, stage: Stage) -> None:
    """Whoever comes second is refused the alias, looks again, and finds what the first has made."""
    stage.door.refuse("createRoom", 400, {"errcode": "M_ROOM_IN_USE", "error": "taken"})
    await stopped.start()
    assert "running for" in await types(await enter(stage, ann), "status")


async def test_others_are_told_once(office: Chat, stage: Stage, model: ScriptedModel) -> None:
    eve = await stage.person("eve")
    await office.human.invite(office.room, eve.user_id)
    await eve.join(office.room)
    await eve.sees_member(office.room, stage.agent)
    theirs = Chat(eve, office.room, stage.agent)
    for text in ("status", "help", "agent delete Memtrix", f"{stage.agent} hello?"):
        await theirs.send(text)
    assert "only administrators" in await theirs.notice()
    assert "only administrators" in await office.notice()
    assert "running for" in await types(office, "status")
    assert len([n for n in office.notices() if "only administrators" in n]) == 1
    assert not model.requests
    assert eve.user_id in await types(office, "memory search Memtrix anything")


@DIRECT
async def test_only_the_main_agent_takes_orders(
    ann: Human, stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    dennis = await stage.second_agent()
    await stopped.start()
    office = await enter(stage, ann)
    await ann.invite(office.room, dennis)
    await office.sees_member(dennis)
    assert "running for" in await types(office, "status")
    assert "no command" in await types(office, "Dennis: status")
    await office.quiet()
    assert len(office.notices()) == 2 and not model.requests


@DIRECT
async def test_edits_and_notices_do_nothing(office: Chat, model: ScriptedModel) -> None:
    event_id = await office.send("status")
    assert "running for" in await office.notice()
    await office.edit(event_id, "version")
    await office.send("version", msgtype="m.notice")
    assert "| main |" in await types(office, "agents")
    assert not [n for n in office.notices() if "PostgreSQL" in n] and not model.requests


@DIRECT
async def test_tables_are_tables(office: Chat) -> None:
    await office.send("permissions")

    def shown() -> str | None:
        return next((s.html for s in office.said() if "<table>" in s.html), None)

    html = await office.until(shown, "a table")
    assert "<th>role</th>" in html and f"<code>{office.human.user_id}</code>" in html


@DIRECT
async def test_a_click_confirms_and_the_question_tells(
    office: Chat, stage: Stage, model: ScriptedModel
) -> None:
    model.by_default("Hello.")
    chat = await stage.chat()
    await chat.ask("hi")
    listed = await types(office, "sessions")
    number = listed.rpartition("| #")[2].split()[0]
    await office.send(f"session clear {number}")
    asking = await ended(office, "No answer until", "session clear")
    assert "2 messages" in asking.text
    await office.until(lambda: reactions(office, asking.event_id) == ["✅", "❌"], "the emoji")
    await office.human.react(office.room, asking.event_id, "✅")
    shown = await ended(office, "Confirmed", "session clear")
    assert office.human.user_id in shown.text and shown.event_id == asking.event_id
    await office.until(lambda: [n for n in office.notices() if "is over" in n], "the outcome")
    await chat.ask("hi again")
    assert len(model.requests[-1].messages) == 2


@DIRECT
async def test_a_question_survives_a_restart(
    office: Chat, stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    model.by_default("Hello.")
    chat = await stage.chat()
    await chat.ask("hi")
    listed = await types(office, "rooms")
    number = listed.rpartition("| #")[2].split()[0]
    assert "leaves room" in await types(office, f"room leave {number}")
    await stopped.restart()
    await office.send("yes")
    await ended(office, "Confirmed", "room leave")
    await chat.sees_member(stage.agent, "leave")


@DIRECT
async def test_a_slow_command_holds_up_nobody(office: Chat, model: ScriptedModel) -> None:
    model.hold()
    await office.send("model test test-model")
    await model.asked(1)
    assert "running for" in await types(office, "status")
    model.says("ready")
    model.release()
    await office.until(lambda: [n for n in office.notices() if "ready" in n], "the outcome")


@DIRECT
async def test_a_question_of_an_agent_is_answered_from_here(
    ann: Human, stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    bells = Bells(stopped)
    await stopped.start()
    office, chat = await enter(stage, ann), await stage.chat()
    for verb, bell in (("approve", "gong"), ("deny", "drum")):
        model.calls("ring", bell=bell)
        await chat.send("ring it")
        await question(chat, bell)
        listed = await types(office, "approvals")
        assert "`ring`" in listed and chat.human.user_id in listed
        model.says("So be it.")
        number = listed.rpartition("| #")[2].split()[0]
        assert f'"{bell}"' in await types(office, f"approval show {number}")
        assert "is answered" in await types(office, f"{verb} {number}")
        assert await chat.reply() == "So be it."
        assert bells.rung == ["gong"]
        assert "ended already" in await types(office, f"{verb} {number}")
    await ended(chat, "Approved")
    await ended(chat, "Denied")


@DIRECT
async def test_a_tool_that_is_off_is_not_offered_and_does_not_run(
    ann: Human, stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    bells = Bells(stopped)
    await stopped.start()
    office, chat = await enter(stage, ann), await stage.chat()
    await asked(chat, model)
    assert "is off" in await types(office, "tool disable ring Memtrix")
    model.says("Then not.")
    await chat.send("yes")
    assert await chat.reply() == "Then not."
    assert not bells.rung
    names = [tool["function"]["name"] for tool in model.requests[-1].tools]
    assert "ring" not in names and "get_current_time" in names
    assert "**off** for Memtrix" in await types(office, "tools 2") + await types(office, "tools")
    assert "is on" in await types(office, "tool enable ring")
    model.says("Now.")
    await chat.ask("and now?")
    assert "ring" in [tool["function"]["name"] for tool in model.requests[-1].tools]


async def leads(stage: Stage) -> str | None:
    """The room that the alias leads to."""
    sender = stage.door.user(stage.door.registration["sender_localpart"])
    path = f"/directory/room/{stage.door.alias.replace('#', '%23')}"
    try:
        found = await stage.door.api.call("GET", path, user_id=sender)
    except Refused:
        return None
    return str(found["room_id"])
