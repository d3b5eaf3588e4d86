"""Questions that end without a yes: expired, stopped, edited, withdrawn, deleted, or too late."""

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.asking import asked, ended, notice, question, results
from tests.rig.bell import Bells
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage

DIRECT = only("direct")


@pytest.fixture
def bells(stopped: Service) -> Bells:
    return Bells(stopped)


@pytest.fixture
async def talk(bells: Bells, stopped: Service, stage: Stage) -> Chat:
    await stopped.start()
    return await stage.chat()


@DIRECT
async def test_nobody_answers(
    bells: Bells, stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    stopped.set("limits.approval_timeout", 1)
    await stopped.start()
    talk = await stage.chat()
    asking = await asked(talk, model)
    model.says("Then I leave it.")
    assert await talk.reply() == "Then I leave it."
    await ended(talk, "Expired")
    assert "nobody answered in time" in results(model)[0]
    await talk.send("yes", reply_to=asking.event_id)
    assert "closed before" in await notice(talk, "closed before")
    assert not bells.rung


@DIRECT
async def test_a_turn_that_fails_closes_its_question(
    bells: Bells, stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    """The neighbour of a call that waits takes too long, and the turn is given up."""
    stopped.set("limits.turn_timeout", 1)
    await stopped.start()
    talk = await stage.chat()
    model.calls("ring", {"bell": "gong"}, "listen", {"seconds": 20}, text="Let me see.")
    await talk.send("ring, and listen")
    asking = await question(talk, "gong")
    await notice(talk, "I gave up")
    await ended(talk, "Withdrawn", "gong")
    await talk.human.react(talk.room, asking.event_id, "✅")
    await notice(talk, "closed before")
    assert not bells.rung
    assert talk.replies() == ["Let me see."]


@DIRECT
async def test_stop_ends_what_waits(talk: Chat, bells: Bells, model: ScriptedModel) -> None:
    asking = await asked(talk, model)
    await talk.send("and then?")
    await talk.send("/stop")
    model.says("Then nothing.")
    assert await talk.reply() == "Then nothing."
    await ended(talk, "Withdrawn")
    await talk.human.react(talk.room, asking.event_id, "✅")
    await notice(talk, "closed before")
    assert not bells.rung
    assert "Stopped by the human." in results(model)


@DIRECT
async def test_an_edit_begins_anew(talk: Chat, bells: Bells, model: ScriptedModel) -> None:
    model.calls("ring", bell="gong")
    event_id = await talk.send("ring the gong")
    first = await question(talk)
    model.calls("ring", bell="drum")
    await talk.edit(event_id, "ring the drum")
    await ended(talk, "Withdrawn", "gong")
    await question(talk, "drum")
    await talk.send("yes", reply_to=first.event_id)
    await notice(talk, "closed before")
    model.says("Rat-a-tat.")
    await talk.send("yes")
    assert await talk.reply() == "Rat-a-tat."
    assert bells.rung == ["drum"]


@DIRECT
async def test_a_message_withdrawn_takes_its_question_along(
    talk: Chat, bells: Bells, model: ScriptedModel
) -> None:
    model.calls("ring", bell="gong", text="Shall I?")
    event_id = await talk.send("ring it")
    asking = await question(talk)
    await talk.redact(event_id)
    await talk.until(lambda: not talk.said() or None, "all of it to go")
    model.says("The fence.")
    assert await talk.ask("ping") == "The fence."
    assert "gong" not in str(model.requests[-1].messages)
    await talk.send("yes", reply_to=asking.event_id)
    await notice(talk, "closed before")
    assert not bells.rung


@DIRECT
async def test_a_question_deleted_from_the_room_is_a_no(
    talk: Chat, bells: Bells, model: ScriptedModel
) -> None:
    asking = await asked(talk, model)
    model.says("As you like.")
    await talk.redact(asking.event_id)
    assert await talk.reply() == "As you like."
    assert "said no" in results(model)[0]
    assert not bells.rung


@DIRECT
async def test_answered_twice_runs_once(talk: Chat, bells: Bells, model: ScriptedModel) -> None:
    asking = await asked(talk, model)
    model.says("Dong.")
    await talk.human.react(talk.room, asking.event_id, "✅")
    await talk.send("yes", reply_to=asking.event_id)
    await talk.send("no", reply_to=asking.event_id)
    assert await talk.reply() == "Dong."
    await talk.until(
        lambda: len([n for n in talk.notices() if "closed before" in n]) == 2 or None,
        "both to be told",
    )
    assert bells.rung == ["gong"]
    await talk.send("/yes")
    await notice(talk, "no open question")
