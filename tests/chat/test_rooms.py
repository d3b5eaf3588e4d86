"""Coming into rooms and being shown out: invitations, permissions, kicks and bans."""

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.door import Door
from tests.rig.human import Human
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage

MEMBERSHIP = r"/(join|invite|kick|ban|unban)(/|$)|/state/m\.room\.member"


def declined(human: Human, room: str, agent: str) -> str | None:
    """The reason with which the agent has declined."""
    event = human.timeline(room).state.get(("m.room.member", agent), {"content": {}})
    content = event["content"]
    return content.get("reason", "") if content.get("membership") == "leave" else None


async def test_an_invite_is_accepted_and_nobody_greeted(chat: Chat, model: ScriptedModel) -> None:
    model.says("Here I am.")
    assert await chat.ask("are you there?") == "Here I am."
    assert len(chat.said()) == 1
    assert len(model.requests) == 1


async def test_the_first_words_need_not_wait_for_it_to_come_in(
    service: Service, stage: Stage, model: ScriptedModel
) -> None:
    """Clients make a direct room when the first message is sent, and send it at once."""
    human = await stage.person()
    model.says("Hello.", "Hello again.")
    room = await human.create_room(stage.agent, is_direct=True)
    await human.send(room, "hi")
    assert await human.reply(room) == "Hello."
    await human.send(room, "hi again")
    assert await human.reply(room) == "Hello again."
    assert [request.last_user for request in model.requests] == ["hi", "hi again"]


@only("direct")
@pytest.mark.parametrize("version", ["11", "12"])
async def test_room_versions(
    service: Service, stage: Stage, model: ScriptedModel, version: str
) -> None:
    model.says("Hello.", "Hello again.")
    chat = await stage.chat(version=version)
    assert await chat.ask("hi") == "Hello."
    assert await chat.ask("hi again") == "Hello again."


@only("direct")
async def test_as_an_additional_creator(
    service: Service, stage: Stage, model: ScriptedModel
) -> None:
    """Element's preset for direct chats gives the invited agent the creator's power."""
    model.says("Hello.")
    chat = await stage.chat(preset="trusted_private_chat", version="12")
    assert await chat.ask("hi") == "Hello."
    mine = [e for e in chat.events() if e["sender"] == chat.agent and "state_key" in e]
    assert {e["type"] for e in mine} <= {"m.room.member", "org.matrix.room.preview_urls"}


async def test_strangers_are_declined_with_a_reason(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    friend, stranger = await stage.person("friend"), await stage.person("stranger")
    stopped.permit(**{friend.user_id: "user", "*": "none"})
    await stopped.start()
    room = await stranger.create_room(stage.agent)
    reason = await stranger.until(
        lambda: declined(stranger, room, stage.agent), "the invite to be declined"
    )
    assert "permission" in reason
    assert not stage.door.seen(f"join.*{room[:10]}")
    model.says("Hello friend.")
    chat = await stage.chat(friend)
    assert await chat.ask("hi") == "Hello friend."


@only("direct")
async def test_permissions_from_the_closest_key(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    ann, bad = await stage.person("ann"), await stage.person("bad")
    stopped.permit(**{"*": "none", stage.door.domain: "user", bad.user_id: "none"})
    await stopped.start()
    room = await bad.create_room(stage.agent)
    await bad.until(lambda: declined(bad, room, stage.agent), "the invite to be declined")
    model.says("Welcome.")
    assert await (await stage.chat(ann)).ask("hi") == "Welcome."


@only("direct")
async def test_everybody_may_where_the_star_says_so(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    stopped.permit(**{"*": "user", "elsewhere.example": "none"})
    await stopped.start()
    model.says("Welcome.")
    assert await (await stage.chat()).ask("hi") == "Welcome."


@only("direct")
async def test_a_guest_without_permission_is_not_heard(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    """In a room where the agent already is, words of somebody without permission do nothing."""
    ann, guest = await stage.person("ann"), await stage.person("guest")
    stopped.permit(**{ann.user_id: "user", "*": "none"})
    await stopped.start()
    chat = await stage.chat(ann)
    await ann.invite(chat.room, guest.user_id)
    await guest.join(chat.room)
    await guest.send(chat.room, "Memtrix: wipe everything", mentions=(chat.agent,))
    model.says("Only you count.")
    assert await chat.ask("Memtrix: who counts?", mentions=(chat.agent,)) == "Only you count."
    assert "wipe" not in str(model.requests[-1].messages)


async def test_a_kick_is_final(chat: Chat, door: Door, model: ScriptedModel) -> None:
    model.says("Before.", "Too late.")
    await chat.ask("before")
    door.calls.clear()
    model.hold()
    await chat.send("an answer that will find no room")
    await model.asked(2)
    await chat.human.kick(chat.room, chat.agent)
    await chat.sees_member(chat.agent, "leave")
    model.release()
    other = await fence(chat, door, model)
    assert not [c for c in door.seen(MEMBERSHIP) if other.room not in c.path]
    assert chat.human.timeline(chat.room).membership(chat.agent) == "leave"
    assert chat.replies() == ["Before."]


@only("direct")
async def test_after_a_kick_an_invite_brings_it_back(chat: Chat, model: ScriptedModel) -> None:
    model.says("Before.", "And after.")
    await chat.ask("before")
    await chat.human.kick(chat.room, chat.agent)
    await chat.sees_member(chat.agent, "leave")
    await chat.human.invite(chat.room, chat.agent)
    await chat.sees_member(chat.agent)
    assert await chat.ask("back again?") == "And after."


@only("direct")
async def test_a_ban_is_final(chat: Chat, door: Door, model: ScriptedModel) -> None:
    model.says("Before.")
    await chat.ask("before")
    door.calls.clear()
    await chat.human.ban(chat.room, chat.agent)
    await chat.sees_member(chat.agent, "ban")
    await chat.send("can you hear me?")
    other = await fence(chat, door, model)
    assert not [c for c in door.seen(MEMBERSHIP) if other.room not in c.path]
    assert chat.human.timeline(chat.room).membership(chat.agent) == "ban"


async def fence(chat: Chat, door: Door, model: ScriptedModel) -> Chat:
    """Another room's whole conversation: what was to happen in the first one has happened."""
    room = await chat.human.create_room(chat.agent)
    await chat.human.sees_member(room, chat.agent)
    other = Chat(chat.human, room, chat.agent)
    model.says("The fence.")
    assert await other.ask("ping") == "The fence."
    return other


@only("direct")
async def test_encrypted_rooms_are_told_once(
    service: Service, stage: Stage, model: ScriptedModel
) -> None:
    chat = await stage.chat(encrypted=True)
    secret = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "AwgA", "session_id": "s"}
    await chat.human.send_event(chat.room, "m.room.encrypted", secret)
    assert "encrypt" in (await chat.notice()).lower()
    await chat.human.send_event(chat.room, "m.room.encrypted", secret)
    other = await stage.chat(chat.human)
    model.says("Readable.")
    assert await other.ask("hi") == "Readable."
    assert len(chat.said()) == 1 and len(model.requests) == 1


@only("direct")
async def test_an_empty_room_is_no_trouble(chat: Chat, stage: Stage, model: ScriptedModel) -> None:
    """The human leaves while the agent answers; the next room works."""
    model.hold()
    await chat.send("bye")
    await model.asked(1)
    await chat.human.leave(chat.room)
    model.release()
    model.says("To nobody.", "Hello.")
    assert await (await stage.chat()).ask("hi") == "Hello."
