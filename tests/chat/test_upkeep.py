"""A session goes quiet, and what its agent did not write down is in the journal."""

import asyncio

from memtrix_as.testing import Request, ScriptedModel
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage
from tests.rig.waiting import eventually

pytestmark = only("direct")

QUIET = 0.01  # minutes
UPKEEP = "You keep the journal"


async def quiet(service: Service, stage: Stage) -> Chat:
    """A chat with a service that keeps up its journals at once."""
    service.set("memory", {"upkeep": QUIET, "recall_tokens": 0})
    await service.start()
    return await stage.chat()


def upkeep(request: Request) -> bool:
    return UPKEEP in str(request.messages[0]["content"])


def upkeeps(model: ScriptedModel) -> list[str]:
    """What was shown to the model for upkeep."""
    return [str(r.messages[-1]["content"]) for r in model.requests if upkeep(r)]


async def entries(stage: Stage, number: int) -> list[tuple[str, str]]:
    rows = await eventually(lambda: _entries(stage, number), f"{number} journal entries")
    return [(row["section"], row["text"]) for row in rows]


async def _entries(stage: Stage, number: int) -> list:  # type: ignore[type-arg]
    rows = await stage.database.fetch("select * from journal_entries order by id")
    return rows if len(rows) >= number else []


async def test_a_quiet_session_is_written_down(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    model.on(upkeep).says(
        "Decisions: We sail on 14 June [1]\nLearned: The boat is called Titanic [1]"
    )
    model.says("A good day for it.")
    chat = await quiet(stopped, stage)
    event = await chat.send("We sail on 14 June with Nessie, our boat.")
    await chat.reply()
    assert await entries(stage, 1) == [("Decisions", "- We sail on 14 June")]
    (row,) = await stage.database.fetch("select * from journal_entries")
    assert row["events"] == [event] and row["author"] == "upkeep"
    assert row["people"] == [chat.human.user_id] and row["room_id"] == chat.room
    assert "Nessie" in upkeeps(model)[0] and "A good day" in upkeeps(model)[0]
    assert not model.requests[-1].tools, "nothing to reach outside with"
    await asyncio.sleep(1.5)
    assert len(upkeeps(model)) == 1, "the same words are not written down twice"
    model.calls("search_memory", query="when do we sail?")
    model.says("On 14 June.")
    await (await stage.chat(chat.human)).ask("When do we sail?")
    # The second conversation may have gone quiet by now, and be written down as well.
    found = str([r for r in model.requests if not upkeep(r)][-1].messages[-1]["content"])
    assert "journal, Decisions" in found and event in found


async def test_what_the_agent_wrote_itself_is_not_written_again(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    model.calls("write_memory_file", content="We sail on 14 June.", section="Decisions")
    model.says("Noted.")
    chat = await quiet(stopped, stage)
    assert await chat.ask("We sail on 14 June.") == "Noted."
    await asyncio.sleep(2)
    assert not upkeeps(model)
    assert len(await entries(stage, 1)) == 1


async def test_a_failing_model_loses_nothing(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    for _ in range(5):  # more often than it is asked again
        model.on(upkeep).fails(500)
    model.says("Good.")
    chat = await quiet(stopped, stage)
    await chat.ask("We sail on 14 June.")
    await eventually(lambda: _done(stage), "the end of the upkeep")
    rows = await stage.database.fetch("select journaled_to from sessions")
    assert rows[0]["journaled_to"] == 0
    assert chat.replies() == ["Good."] and not chat.notices(), "nobody is bothered with it"


async def _done(stage: Stage) -> bool:
    query = "select 1 from inbox where kind = 'upkeep' and done_at is not null"
    return bool(await stage.database.fetch(query))


async def test_it_can_be_switched_off(stopped: Service, stage: Stage, model: ScriptedModel) -> None:
    model.says("Good.")
    stopped.set("memory", {"upkeep": "none"})
    await stopped.start()
    await (await stage.chat()).ask("We sail on 14 June.")
    await asyncio.sleep(1)
    assert not upkeeps(model)


async def test_what_followed_from_text_of_a_stranger_is_not_noted_unasked(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    folder = stopped.folder / "workspace"
    folder.mkdir(exist_ok=True)
    (folder / "mail.txt").write_text("The vault is in Basel.")
    model.on(upkeep).says("nothing")
    model.says("Welcome.")
    model.calls("read_file", path="mail.txt")
    model.says("It says that the vault is in Basel.")
    chat = await quiet(stopped, stage)
    await chat.ask("I am Anna.")
    await chat.ask("Read my mail.")

    async def seen() -> bool:
        return any("Read my mail" in text for text in upkeeps(model))

    await eventually(seen, "upkeep")
    shown = "".join(upkeeps(model))
    assert "I am Anna" in shown and "Welcome" in shown and "Basel" not in shown
