"""The journal through conversations: written, read, kept apart for whom it is."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage
from tests.rig.waiting import eventually

pytestmark = only("direct")

NOTES = "- The boat is called Nessie.\n- It needs new sails."


async def use(chat: Chat, model: ScriptedModel, *names: str, **arguments: Any) -> str:
    """What the model is told when it uses a tool."""
    model.calls(*names, **arguments)
    model.says("Done.")
    await chat.ask("go on")
    return str(model.requests[-1].messages[-1]["content"])


async def write(chat: Chat, model: ScriptedModel, content: str, **arguments: Any) -> str:
    return await use(chat, model, "write_memory_file", content=content, **arguments)


async def read(chat: Chat, model: ScriptedModel, **arguments: Any) -> str:
    return await use(chat, model, "read_memory_file", **arguments)


async def entries(stage: Stage) -> list[Any]:
    return await stage.database.fetch(
        "select * from journal_entries where removed_at is null order by day, place, id"
    )


async def test_what_is_written_is_read(chat: Chat, model: ScriptedModel, stage: Stage) -> None:
    assert "is empty" in await read(chat, model)
    told = await write(chat, model, NOTES, section="learned")
    assert "2 entries" in told and "Learned" in told
    found = await read(chat, model)
    today = datetime.now(UTC).date()
    assert found == f"# {today}\n\n## Learned\n\n{NOTES}\n"
    assert "word for word" in await write(chat, model, NOTES, section="Learned")
    first, _ = await entries(stage)
    assert first["people"] == [chat.human.user_id] and first["room_id"] == chat.room
    asked = [
        e["event_id"] for e in chat.events("m.room.message") if e["sender"] == first["people"][0]
    ]
    assert first["events"] == [asked[1]], "the message that it was written for"
    (message,) = await stage.database.fetch(
        "select event_id, session_id from messages where id = $1", first["messages"][0]
    )
    assert message["event_id"] == asked[1]
    (session,) = await stage.database.fetch("select journaled_to from sessions")
    (before,) = await stage.database.fetch(
        "select count(*) as n from messages where id <= $1", session["journaled_to"]
    )
    assert before["n"] > 8, "upkeep need not look at them again"


async def test_a_day_is_rewritten_when_it_was_read(
    chat: Chat, model: ScriptedModel, stage: Stage
) -> None:
    assert "2 entries new" in await write(chat, model, f"## Learned\n{NOTES}"), "it was empty"
    again = await write(chat, model, "## Notes\n- Something else.")
    assert "1 entry new" in again and "2 taken out" in again, "what it wrote itself it has seen"
    other = await stage.chat(chat.human)
    refused = await write(other, model, "## Notes\n- Quite different.")
    assert "Nothing was written" in refused and "read_memory_file" in refused
    assert "Something else" in await read(other, model)
    assert "1 taken out" in await write(other, model, "## Notes\n- Quite different.")
    stale = await write(chat, model, "## Notes\n- Once more.")
    assert "Nothing was written" in stale
    assert [e["text"] for e in await entries(stage)] == ["- Quite different."]


async def test_an_addition_needs_no_reading(chat: Chat, model: ScriptedModel, stage: Stage) -> None:
    await write(chat, model, NOTES, section="Learned")
    other = await stage.chat(chat.human)
    told = await write(other, model, f"## Learned\n{NOTES}\n- It is red.")
    assert "1 entry new, 2 as before, 0 taken out" in told


async def test_a_rewrite_that_keeps_most_is_not_asked_about(
    chat: Chat, model: ScriptedModel, stage: Stage
) -> None:
    many = "\n".join(f"- Entry {n} tells of matter number {n * 7} in words." for n in range(20))
    await write(chat, model, many, section="Notes")
    shorter = "\n".join(many.split("\n")[:15])
    assert "5 taken out" in await write(chat, model, f"## Notes\n{shorter}")
    assert len(await entries(stage)) == 15


async def test_another_human_does_not_read_it(
    chat: Chat, model: ScriptedModel, stage: Stage
) -> None:
    await write(chat, model, NOTES, section="Learned")
    ben = await stage.chat(await stage.person("ben"))
    assert "is empty" in await read(ben, model)
    assert "1 entry" in await write(ben, model, "- Ben likes tea.", section="Learned")
    assert "2 taken out" not in await write(ben, model, "## Learned\n- Ben likes coffee.")
    found = await read(chat, model)
    assert "Nessie" in found and "Ben" not in found


async def test_in_a_group_only_what_all_may_know(
    service: Service, model: ScriptedModel, stage: Stage
) -> None:
    ann, ben = await stage.group()
    alone = await stage.chat(ann.human)
    await write(alone, model, "- Ann's secret.", section="Notes")

    async def ask(chat: Chat, tool: str, **arguments: Any) -> str:
        model.calls(tool, **arguments)
        model.says("Done.")
        await chat.send("@memtrix go on", mentions=[stage.agent])
        await ann.reply()
        return str(model.requests[-1].messages[-1]["content"])

    assert "is empty" in await ask(ann, "read_memory_file")
    await ask(ben, "write_memory_file", content="- Both were told.", section="Notes")
    assert "Both were told" in await ask(ann, "read_memory_file")
    found = await read(alone, model)
    assert "secret" in found and "Both were told" in found


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu"])
async def test_the_day_is_that_of_the_users_time_zone(
    stopped: Service, model: ScriptedModel, stage: Stage, zone: str
) -> None:
    stopped.set("timezone", zone)
    await stopped.start()
    chat = await stage.chat()
    before = datetime.now(ZoneInfo(zone)).date()
    await write(chat, model, "- A boat.", section="Notes")
    await write(chat, model, "- A car.", section="Notes", date="yesterday")
    after = datetime.now(ZoneInfo(zone)).date()
    yesterday, today = [e["day"] for e in await entries(stage)]
    assert before <= today <= after and today - yesterday == timedelta(days=1)


async def test_midnight_does_not_part_reading_and_writing(
    chat: Chat, model: ScriptedModel, stage: Stage
) -> None:
    """A turn that began yesterday, and goes on after midnight, is about yesterday."""
    day = datetime.now(UTC).date() - timedelta(days=1)
    await write(chat, model, "- A boat.", section="Notes", date="yesterday")
    model.hold()
    await chat.send("what did we do?")
    await model.wait_for_requests(len(model.requests) + 1)
    await stage.database.fetch(
        "update turns set started_at = started_at - interval '1 day' where state = 'running'"
    )
    model.calls("read_memory_file")
    model.calls("write_memory_file", content="## Notes\n- A boat, and a car.")
    model.says("Done.")
    model.release()
    await chat.reply()
    assert [(e["day"], e["text"]) for e in await entries(stage)] == [(day, "- A boat, and a car.")]


async def test_any_day_can_be_read(chat: Chat, model: ScriptedModel) -> None:
    await write(chat, model, "- A boat.", section="Notes", date="2026-03-18")
    await write(chat, model, "- A car.", section="Notes", date="2025-12-24")
    assert "A boat" in await read(chat, model, date="2026-03-18")
    empty = await read(chat, model, date="2026-01-01")
    assert "is empty" in empty and "2025-12-24, 2026-03-18" in empty
    for wrong in ("18.03.2026", "2026-02-30", "last week"):
        told = await read(chat, model, date=wrong)
        assert wrong in told and date.today().isoformat()[:4] in told and "yesterday" in told
    headed = await write(chat, model, "# 2026-03-18\n\n- A plane.")
    assert "date='2026-03-18'" in headed
    assert "nothing to write" in await write(chat, model, "  ", section="Notes")


async def test_a_long_day_is_read_page_by_page(
    stopped: Service, model: ScriptedModel, stage: Stage
) -> None:
    stopped.set("models.test-model.context", 100_000)  # else the session would be condensed
    await stopped.start()
    chat = await stage.chat()
    for n in range(5):
        await write(chat, model, f"- Entry {n} " + f"word{n} " * 500, section="Notes")
    other = await stage.chat(chat.human)
    first = await read(other, model)
    assert "Entry 0" in first and "Entry 4" not in first and "offset=" in first
    refused = await write(other, model, "## Notes\n- Short.")
    assert "Nothing was written" in refused, "only a part of the day was read"
    text, offset = first, 0
    while "offset=" in text:
        offset = int(text.rpartition("offset=")[2].split(".")[0])
        text = await read(other, model, offset=offset)
    assert "Entry 4" in text and "the end" in text
    kept = "\n".join(e["text"] for e in (await entries(stage))[:4])
    assert "1 taken out" in await write(other, model, f"## Notes\n{kept}")
    assert "read from 0 on" in await read(other, model, offset=10**6)


async def _number(stage: Stage, number: int) -> bool:
    return len(await entries(stage)) == number


async def test_a_message_that_is_taken_back_takes_its_entry_with_it(
    chat: Chat, model: ScriptedModel, stage: Stage
) -> None:
    await write(chat, model, "- A car.", section="Notes")
    model.calls("write_memory_file", content="- A boat.", section="Notes")
    model.says("Noted.")
    event = await chat.send("We have a boat.")
    await chat.reply()
    await chat.redact(event)
    # It overtakes what is said, and so nothing waits for it.
    await eventually(lambda: _number(stage, 1), "the entry to go")
    found = await read(chat, model)
    assert "A car." in found and "A boat." not in found


async def test_it_is_bounded(chat: Chat, model: ScriptedModel) -> None:
    told = await write(chat, model, "- " + "x" * 4_000, section="Notes")
    assert "Nothing was written" in told and "4,000" in told
