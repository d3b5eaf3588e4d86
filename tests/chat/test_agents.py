"""Agents are made, invited, renamed and taken leave of in a chat, as rows made true in Matrix."""

import asyncio
from typing import Any

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.asking import ended, question, results
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.people import drafts, make, room_with
from tests.rig.service import Process, Service
from tests.rig.stage import Stage
from tests.rig.waiting import until


def dennis_of(stage: Stage, name: str = "dennis") -> str:
    return stage.door.user(f"{stage.door.registration['id']}_{name}")


async def profile(stage: Stage, user: str) -> dict[str, Any]:
    return dict(await stage.door.api.call("GET", f"/profile/{user}"))


async def test_a_cooking_expert_called_dennis(
    chat: Chat, stage: Stage, model: ScriptedModel, service: Service
) -> None:
    await make(chat, model)
    dennis = dennis_of(stage)
    assert f"Its Matrix user is {dennis}" in results(model)[-1]
    shown = await profile(stage, dennis)
    assert shown["displayname"] == "Dennis" and shown["avatar_url"].startswith("mxc://")
    home = service.folder / "agents" / "dennis"
    assert "why a sauce breaks" in (home / "AGENT.md").read_text()
    assert "never waste food" in (home / "SOUL.md").read_text()
    talk = await room_with(stage, chat.human, dennis)
    model.says("Soup, then salmon.")
    await talk.send("What shall I cook?")
    answer = await talk.answer()
    assert (answer.text, answer.sender) == ("Soup, then salmon.", dennis)
    system = model.requests[-1].messages[0]["content"]
    assert "You are Dennis" in system and "why a sauce breaks" in system
    names = {tool["function"]["name"] for tool in model.requests[-1].tools}
    assert "ask_agent" in names
    assert not names & {"create_agent", "list_agents", "delete_agent"}
    model.calls("ask_agent", name="dennis", message="A menu for a dinner party, please.")
    asked = model.on("A menu for a dinner party")
    asked.says("Tomato soup, herb-crusted salmon, lemon tart.")
    model.says("Dennis suggests soup, salmon and a tart.")
    await chat.send("I'm planning a dinner party. Ask Dennis for a menu.")
    assert await chat.reply() == "Dennis suggests soup, salmon and a tart."
    assert "lemon tart" in results(model)[-1]


@only("direct")
async def test_a_no_makes_nobody(chat: Chat, stage: Stage, model: ScriptedModel) -> None:
    model.calls("create_agent", name="Dennis", description="Cooking")
    model.says("As you like.")
    await chat.send("Create me a cooking expert.")
    await question(chat, "makes a new agent, Dennis")
    await chat.send("no")
    assert await chat.reply() == "As you like."
    assert not await stage.database.fetch("select from agents where not main")


@only("direct")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("admin", "not be taken for a person's name"),
        ("Memtrix", "is an agent already"),
        ("Memtrlx", "could be taken for Memtrix"),
        ("D\u0435nnis", "several scripts"),
        ("Dennis\n/verbose on", "has 1 to 40 letters"),
        ("😀", "has 1 to 40 letters"),
        ("../../etc", "has 1 to 40 letters"),
        ("x" * 300, "has 1 to 40 letters"),
    ],
)
async def test_names_that_nobody_is_asked_about(
    chat: Chat, model: ScriptedModel, name: str, why: str
) -> None:
    model.calls("create_agent", name=name, description="Cooking")
    model.says("Not like that.")
    assert await chat.ask("make one") == "Not like that."
    assert why in results(model)[-1]


@only("direct")
async def test_names_in_any_script(chat: Chat, stage: Stage, model: ScriptedModel) -> None:
    for name, local in (("Jos\u00e9", "jose"), ("\u0410\u043d\u043d\u0430", "anna"),
                        ("Mary Ann", "mary-ann")):  # fmt: skip
        await make(chat, model, name)
        assert (await profile(stage, dennis_of(stage, local)))["displayname"] == name
    model.calls("create_agent", name="Jose", description="the same again")
    model.says("There is one.")
    assert await chat.ask("another") == "There is one."
    assert "could be taken for Jos\u00e9" in results(model)[-1]


@only("direct")
async def test_a_template_where_the_model_fails(
    chat: Chat, model: ScriptedModel, service: Service
) -> None:
    draft = model.on(lambda request: "new assistant" in request.last_user)
    draft.fails(400, times=5)
    model.calls("create_agent", name="Dennis", description="Cooking {{USER}}")
    model.says("There he is.")
    await chat.send("make one")
    await question(chat, "makes a new agent, Dennis")
    await chat.send("yes")
    assert await chat.reply() == "There he is."
    home = service.folder / "agents" / "dennis"
    assert "Your expertise: Cooking { {USER} }" in (home / "AGENT.md").read_text()


@only("direct")
async def test_a_room_is_offered_and_opened_on_yes(
    chat: Chat, stage: Stage, model: ScriptedModel
) -> None:
    await make(chat, model)
    offer = await question(chat, "open a room with you")
    await chat.human.react(chat.room, offer.event_id, "✅")
    await ended(chat, "Approved", "open a room with you")
    await chat.until(lambda: chat.human.invited, "an invitation")
    room = next(iter(chat.human.invited))
    await chat.human.join(room)
    talk = Chat(chat.human, room, dennis_of(stage))
    model.says("Hello!")
    await talk.send("Hello Dennis")
    answer = await talk.answer()
    assert (answer.text, answer.sender) == ("Hello!", dennis_of(stage))


@only("direct")
async def test_a_yes_to_a_room_with_who_is_gone_is_answered(
    chat: Chat, stage: Stage, model: ScriptedModel
) -> None:
    await make(chat, model)
    offer = await question(chat, "open a room with you")
    await stage.database.fetch("update agents set state = 'leaving' where name = 'dennis'")
    await chat.human.react(chat.room, offer.event_id, "✅")
    gone = "I could not open a room with **dennis**: it was removed meanwhile."
    await chat.until(lambda: gone in chat.notices(), "what came of it")
    assert not await stage.database.fetch("select from inbox where done_at is null")


@only("direct")
async def test_an_offer_is_in_nobodys_way(chat: Chat, model: ScriptedModel) -> None:
    await make(chat, model)
    await question(chat, "open a room with you")
    model.says("Just so.")
    assert await chat.ask("And now something else") == "Just so."
    model.calls("create_agent", name="Paula", description="Law")
    model.says("Paula too.")
    await chat.send("another")
    await question(chat, "makes a new agent, Paula")
    await chat.send("yes")
    assert await chat.reply() == "Paula too."


@only("direct")
async def test_a_deleted_agent_stops_leaves_and_its_name_is_free(
    chat: Chat, stage: Stage, model: ScriptedModel, service: Service
) -> None:
    await make(chat, model)
    dennis = dennis_of(stage)
    talk = await room_with(stage, chat.human, dennis)
    held = model.on("cook something slow")
    held.hangs()
    await talk.send("cook something slow")
    await model.asked(len(model.requests) + 1)
    model.calls("delete_agent", name="Dennis", purge=True)
    model.says("He is gone.")
    await chat.send("delete Dennis, for good")
    asking = await question(chat, "stops Dennis")
    assert "leaves 1 room." in asking.text and "1 conversation with" in asking.text
    assert "deleted for good" in asking.text
    await chat.send("yes")
    assert await chat.reply() == "He is gone."
    await chat.human.sees_member(talk.room, dennis, "leave")
    await model.wait_for_disconnects(1)
    assert not (service.folder / "agents" / "dennis").exists()
    for table in ("sessions", "outbox", "inbox", "passages", "persona_versions"):
        assert not await stage.database.fetch(f"select from {table} where agent = 'dennis'")
    await make(chat, model)
    again = await room_with(stage, chat.human, dennis)
    model.says("New here.")
    await again.send("hello")
    assert await again.reply() == "New here."
    assert "something slow" not in str(model.requests[-1].messages)


@only("direct")
async def test_an_archived_agents_data_stays(
    chat: Chat, stage: Stage, model: ScriptedModel, service: Service
) -> None:
    await make(chat, model)
    model.calls("delete_agent", name="dennis")
    model.says("Archived.")
    await chat.send("delete Dennis")
    await question(chat, "in the management room brings it back")
    await chat.send("yes")
    assert await chat.reply() == "Archived."
    assert (service.folder / "agents" / "dennis" / "SOUL.md").exists()
    (row,) = await stage.database.fetch("select state, user_id from agents where not main")
    assert (row["state"], row["user_id"]) == ("archived", "")
    await make(chat, model)
    keys = await stage.database.fetch("select name from agents where state = 'active' order by 1")
    assert "dennis-2" in [row["name"] for row in keys]


@only("direct")
async def test_the_main_agent_stays(chat: Chat, model: ScriptedModel) -> None:
    model.calls("delete_agent", name="Memtrix")
    model.says("Never.")
    assert await chat.ask("delete yourself") == "Never."
    assert "cannot be removed" in results(model)[-1]


@only("direct")
async def test_made_while_killed(process: Process, stage: Stage, model: ScriptedModel) -> None:
    """The call's outcome is told to be unknown, and the agent, if it is there, is whole."""
    chat = await stage.chat()
    held = model.on(lambda request: "new assistant" in request.last_user)
    held.hangs()
    model.calls("create_agent", name="Dennis", description="Cooking")
    await chat.send("make one")
    await question(chat, "makes a new agent, Dennis")
    await chat.send("yes")
    await model.asked(2)
    await process.kill9()
    model.says("I do not know whether that worked.")
    await process.start()
    assert await chat.reply() == "I do not know whether that worked."
    assert "unknown" in results(model)[-1]
    drafts(model)
    await make(chat, model, "Paul")
    talk = await room_with(stage, chat.human, dennis_of(stage, "paul"))
    model.says("Here.")
    assert await talk.ask("there?") == "Here."


@only("direct")
async def test_several_agents_are_listed(chat: Chat, stage: Stage, model: ScriptedModel) -> None:
    for name in ("paul", "olga"):
        await stage.second_agent(name)
    await asyncio.sleep(0)
    model.calls("list_agents")
    model.says("Two.")
    assert await chat.ask("who is there?") == "Two."
    assert results(model)[-1].startswith("- Olga (@") and "- Paul (@" in results(model)[-1]


@only("direct")
async def test_nobody_removes_an_agent_of_somebody_else(
    chat: Chat, stage: Stage, model: ScriptedModel
) -> None:
    await make(chat, model)
    ben = await stage.chat(await stage.person("ben"))
    model.calls("delete_agent", name="Dennis", purge=True)
    model.says("That is not yours.")
    assert await ben.ask("delete Dennis for good") == "That is not yours."
    assert "Only whoever made Dennis" in results(model)[-1]
    await make(ben, model, "Paul")
    model.calls("delete_agent", name="Paul")
    model.says("Paul is gone.")
    await ben.send("delete Paul")
    await question(ben, "stops Paul")
    await ben.send("yes")
    assert await ben.reply() == "Paul is gone."


@only("direct")
async def test_an_agent_made_where_there_is_no_matrix_is_made_true_at_once(
    service: Service, stage: Stage, model: ScriptedModel
) -> None:
    """As at a terminal beside the service: a row, and nothing else."""
    human = await stage.person()
    dennis = await stage.second_agent()
    await until(lambda: any(call.matches("PUT .*/profile/.*dennis.*/displayname")
                            for call in stage.door.calls), "its name")  # fmt: skip
    room = await human.create_room(dennis, is_direct=True)
    await human.sees_member(room, dennis)
    model.says("I am Dennis.")
    assert await Chat(human, room, dennis).ask("who are you?") == "I am Dennis."
