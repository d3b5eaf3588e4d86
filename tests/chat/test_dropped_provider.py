"""A provider as the seed documents it, only the import path changed, answers a chat."""

import asyncio

import pytest

from memtrix_as.errors import ConfigError
from memtrix_as.testing import ScriptedModel
from tests.chat.test_model_failures import plain, the_next_message_works
from tests.rig.asking import results
from tests.rig.chat import Chat
from tests.rig.docks import PROVIDER
from tests.rig.dropped import drop
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage

pytestmark = only("direct")


@pytest.fixture
def own(stopped: Service, model: ScriptedModel) -> Service:
    drop(stopped.folder / "providers", "some_file.py", PROVIDER)
    drop(stopped.folder / "providers", "broken.py", "def broken(:")
    stopped.set("provider_directories", ["./providers"])
    section = {"type": "myprovider", "api_key": "k-test-123", "address": model.url}
    stopped.set("providers", {"scripted": section})
    return stopped


@pytest.fixture
async def talk(own: Service, stage: Stage) -> Chat:
    await own.start()
    return await stage.chat()


async def test_it_answers_and_calls_tools(talk: Chat, own: Service, model: ScriptedModel) -> None:
    model.calls("get_current_time", text="Let me look.")
    model.says("It is noon.", reasoning="easy")
    await talk.send("what time is it?")
    await talk.until(lambda: "It is noon." in "".join(talk.replies()), "the answer")
    assert len(results(model)) == 1
    call = model.requests[1].messages[-2]["tool_calls"][0]
    assert call["id"] == model.requests[1].messages[-1]["tool_call_id"]
    assert "broken.py" in own.app.broken[0].where


async def test_rooms_do_not_wait_for_each_other(
    talk: Chat, stage: Stage, model: ScriptedModel
) -> None:
    other = await stage.chat(talk.human)
    model.on("slow").says("Late.", hold=True)
    await talk.send("slow, please")
    await model.asked(1)
    model.on("fast").says("Now.")
    assert await asyncio.wait_for(other.ask("fast, please"), 10) == "Now."
    model.release()
    assert await talk.reply() == "Late."


async def test_what_goes_wrong_is_told_in_one_sentence(talk: Chat, model: ScriptedModel) -> None:
    model.fails(500, "it burns")
    await talk.send("hello")
    told = await talk.notice()
    plain(told.replace("InternalServerError", ""), "failed")
    assert told.startswith('The provider "scripted" failed') and "it burns" in told
    await the_next_message_works(talk, model)


async def test_one_that_takes_too_long_is_given_up(
    own: Service, stage: Stage, model: ScriptedModel
) -> None:
    own.set("limits.turn_timeout", 1)
    await own.start()
    talk = await stage.chat()
    model.hangs()
    await talk.send("hello")
    plain(await talk.notice(), "within", "after")
    model.release()
    await the_next_message_works(talk, model)


async def test_a_section_that_needs_a_broken_file_says_why(own: Service) -> None:
    own.set("providers", {"scripted": {"type": "broken"}})
    with pytest.raises(ConfigError, match=r"no type \"broken\".*broken.py.*SyntaxError"):
        await own.start()
