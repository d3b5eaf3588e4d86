"""Rooms with several humans or several agents: who is meant, and who keeps quiet."""

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage

pytestmark = only("direct")


def pill(user: str, name: str) -> str:
    return f'<a href="https://matrix.to/#/{user}">{name}</a>'


async def test_among_humans_it_answers_only_when_addressed(
    service: Service, stage: Stage, model: ScriptedModel
) -> None:
    ann, ben = await stage.group()
    await ann.send("Ben, lunch?")
    await ben.send("memtrix would know a place")
    model.by_default("The one at the corner.")
    await ann.send("Where to eat?", mentions=(ann.agent,))
    assert await ann.reply() == "The one at the corner."
    assert len(model.requests) == 1
    assert len(ann.said()) == 1


@pytest.mark.parametrize("way", ["mention", "pill", "name", "user id", "reply"])
async def test_ways_to_address(
    service: Service, stage: Stage, model: ScriptedModel, way: str
) -> None:
    ann, ben = await stage.group()
    model.by_default("Yes?")
    first = await ann.send("Memtrix: hello")
    answer = await ann.answer()
    await {
        "mention": lambda: ben.send("hello you", mentions=(ben.agent,)),
        "pill": lambda: ben.send("Memtrix hello", html=f"{pill(ben.agent, 'Memtrix')} hello"),
        "name": lambda: ben.send("memtrix, hello"),
        "user id": lambda: ben.send(f"{ben.agent}: hello"),
        "reply": lambda: ben.send("hello you", reply_to=answer.event_id),
    }[way]()
    assert await ben.reply() == "Yes?" and first
    assert await ben.reply() == "Yes?"


async def test_the_model_knows_who_speaks(
    service: Service, stage: Stage, model: ScriptedModel
) -> None:
    ann, ben = await stage.group()
    model.by_default("Noted.")
    await ann.send("Memtrix: I like tea")
    await ann.reply()
    await ben.send("Memtrix: I like coffee")
    await ann.reply()
    said = [m["content"] for m in model.requests[1].messages if m["role"] == "user"]
    assert ann.human.name in said[0] and ben.human.name in said[1]


async def test_notices_are_never_answered(chat: Chat, model: ScriptedModel) -> None:
    await chat.send("build 17 has passed", msgtype="m.notice")
    model.says("Hello.")
    assert await chat.ask("hi") == "Hello."
    assert len(model.requests) == 1


async def test_own_words_are_never_answered(chat: Chat, model: ScriptedModel) -> None:
    model.says("Memtrix: what do you say, Memtrix?", "The fence.")
    await chat.ask("hi")
    assert await chat.ask("ping") == "The fence."
    assert len(model.requests) == 2


async def test_reactions_and_stickers_are_no_trouble(chat: Chat, model: ScriptedModel) -> None:
    model.by_default("Hello.")
    event_id = await chat.send("hi")
    answer = await chat.answer()
    await chat.human.react(chat.room, answer.event_id, "👍")
    await chat.human.react(chat.room, event_id, "❤️")
    assert await chat.ask("still fine?") == "Hello."
    assert len(model.requests) == 2


@pytest.fixture
async def two_agents(stopped: Service, stage: Stage) -> tuple[Chat, str]:
    """One human with the main agent and dennis."""
    dennis = await stage.second_agent("dennis")
    await stopped.start()
    (chat,) = await stage.group(stage.agent, dennis, humans=1)
    return chat, dennis


async def test_with_two_agents_the_main_one_takes_the_unaddressed(
    two_agents: tuple[Chat, str], model: ScriptedModel
) -> None:
    chat, dennis = two_agents
    model.by_default("Yes.")
    await chat.send("hello everybody")
    assert (await chat.answer()).sender == chat.agent
    await chat.send("Dennis: and you?")
    assert (await chat.answer()).sender == dennis
    await chat.send("both of you", mentions=(dennis, chat.agent))
    assert {(await chat.answer()).sender, (await chat.answer()).sender} == {dennis, chat.agent}
    assert len(model.requests) == 4


async def test_agents_have_separate_sessions(
    two_agents: tuple[Chat, str], model: ScriptedModel
) -> None:
    chat, _ = two_agents
    model.by_default("Yes.")
    await chat.send("Dennis: the word is swordfish")
    await chat.reply()
    await chat.ask("what is the word?")
    assert "swordfish" not in str(model.requests[1].messages)


async def test_a_thread_an_agent_has_spoken_in_is_its_own(
    two_agents: tuple[Chat, str], model: ScriptedModel
) -> None:
    chat, dennis = two_agents
    model.by_default("Yes.")
    root = await chat.send("Dennis: a topic")
    await chat.reply()
    await chat.send("Dennis: more of it", thread=root)
    assert (await chat.answer()).sender == dennis
    await chat.send("and more", thread=root)
    answer = await chat.answer()
    assert (answer.sender, answer.thread) == (dennis, root)


async def test_somebody_elses_edit_changes_nothing(
    service: Service, stage: Stage, model: ScriptedModel
) -> None:
    ann, ben = await stage.group()
    model.hold()
    model.says("Busy no more.", "To Bern.")
    await ann.send("Memtrix: keep busy")
    await model.asked(1)
    event_id = await ann.send("Memtrix: to Bern")
    await ben.edit(event_id, "Memtrix: to Berlin")
    await ann.send("Memtrix: /status")
    await ann.notice()
    model.release()
    assert [await ann.reply(), await ann.reply()] == ["Busy no more.", "To Bern."]
    assert "Berlin" not in str(model.requests[1].messages)


async def test_a_second_human_who_leaves_ends_the_silence(
    service: Service, stage: Stage, model: ScriptedModel
) -> None:
    ann, ben = await stage.group()
    await ben.human.leave(ben.room)
    await ann.sees_member(ben.human.user_id, "leave")
    model.says("Now we are alone.")
    assert await ann.ask("hello?") == "Now we are alone."
