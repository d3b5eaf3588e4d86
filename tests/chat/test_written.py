"""What README and docs tell authors to write, dropped in as it is written there."""

import re
from typing import Any

from ruamel.yaml import YAML

from memtrix_as.testing import ScriptedModel
from tests.rig.asking import question, reactions, results
from tests.rig.chat import Chat
from tests.rig.dropped import code, drop
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage

pytestmark = only("direct")


def settings(text: str) -> Any:
    return YAML(typ="safe").load(text)


async def chat_with(stopped: Service, stage: Stage) -> Chat:
    await stopped.start()
    assert stopped.app.broken == ()
    return await stage.chat()


async def test_the_tool_of_the_readme(stopped: Service, stage: Stage, model: ScriptedModel) -> None:
    (tool,), (section,) = (
        code("README.md", "Write a tool"),
        code("README.md", "Write a tool", "yaml"),
    )
    assert len(tool.splitlines()) <= 22
    drop(stopped.folder / "tools", "dice.py", tool)
    stopped.set("tools", settings(section)["tools"])
    talk = await chat_with(stopped, stage)
    model.calls("roll_dice", {"count": 3}, "roll_dice", {"sides": 1}, "roll_dice", {"sides": "x"})
    model.says("Lucky.")
    assert await talk.ask("roll three dice") == "Lucky."
    rolled, refused, wrong = results(model)
    assert re.fullmatch(r"[1-6], [1-6], [1-6]", rolled)
    assert refused == "I have up to 100 dice, with 2 to 1000 sides."
    assert "sides: Input should be a valid integer" in wrong


async def test_the_class_of_the_docs(stopped: Service, stage: Stage, model: ScriptedModel) -> None:
    (tool,) = code("docs/tools.md", "A class")
    drop(stopped.folder / "tools", "shopping.py", tool)
    stopped.set("tools.directories", ["./tools"])
    talk = await chat_with(stopped, stage)
    shop = drop(stopped.folder / "workspace", "baker.txt", "bread rolls") / "baker.txt"
    model.calls("clear_shopping_list", {"shop": "../../baker"}, "clear_shopping_list", {})
    sent = await talk.send("clear it")
    asking = await question(talk, "Forget 2 things")
    assert shop.exists()
    model.says("Empty.")
    await talk.human.react(talk.room, asking.event_id, "✅")
    assert await talk.reply() == "Empty."
    assert results(model)[0] == "Forgotten: bread, rolls"
    assert "'shop' is a required property" in results(model)[1]
    await talk.until(lambda: reactions(talk, sent) == ["🛒"], "the emoji")
    assert not shop.exists()


async def test_the_provider_of_the_docs(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    heading = "A provider of your own"
    (provider,) = code("docs/providers.md", heading)
    (section,) = code("docs/providers.md", heading, "yaml")
    drop(stopped.folder / "providers", "myserver.py", provider)
    read = settings(section)
    stopped.set("provider_directories", read["provider_directories"])
    mine = {**read["providers"]["mine"], "address": model.url.removesuffix("/v1"), "api_key": "k"}
    stopped.set("providers", {"scripted": mine})
    talk = await chat_with(stopped, stage)
    model.calls("get_current_time")
    model.says("It is noon.")
    assert await talk.ask("what time is it?") == "It is noon."
    assert len(results(model)) == 1
    assert not model.requests[0].body.get("stream")
