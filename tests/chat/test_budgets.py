"""What models take is noted and shown; a budget is told when it runs short, and then it holds."""

import asyncio
from collections.abc import Mapping
from typing import Any

from memtrix_as.testing import Request, ScriptedModel
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Process, Service
from tests.rig.stage import Stage
from tests.rig.timeline import Answer
from tests.rig.waiting import eventually

pytestmark = only("direct")

SHORT, SPENT = "% of today's budget", "is used up ("


def took(tokens: int, cost: float | None = None) -> dict[str, Any]:
    return {"prompt_tokens": tokens, "completion_tokens": 0, "cost": cost}


def answers(model: ScriptedModel, tokens: int, number: int = 1) -> None:
    """Queue answers that take so many tokens each."""
    for _ in range(number):
        model.says("Well.", usage=took(tokens))


async def limited(service: Service, stage: Stage, **budgets: Any) -> Chat:
    """A chat with a service that has these budgets."""
    service.set("budgets", budgets)
    await service.start()
    return await stage.chat()


async def calls(stage: Stage, number: int, **where: Any) -> list[Mapping[str, Any]]:
    """The calls that were noted, once there are so many, and all of them ended."""

    async def found() -> list[Mapping[str, Any]]:
        rows = await stage.database.fetch("select * from usage order by at")
        rows = [r for r in rows if all(r[key] == value for key, value in where.items())]
        return rows if len(rows) >= number and all(r["ended_at"] for r in rows) else []

    rows = await eventually(found, f"{number} calls")
    assert len(rows) == number
    return rows


def warned(chat: Chat) -> list[Answer]:
    return [s for s in chat.said() if s.msgtype == "m.notice" and SHORT in s.text]


async def refused(chat: Chat, text: str = "and now?") -> str:
    before = len(chat.notices())
    await chat.send(text)
    await chat.until(lambda: any(SPENT in n for n in chat.notices()[before:]), "the refusal")
    return next(n for n in chat.notices()[before:] if SPENT in n)


async def status(chat: Chat) -> str:
    before = len(chat.notices())
    await chat.send("/status")
    await chat.until(lambda: any("version" in n for n in chat.notices()[before:]), "the status")
    return next(n for n in chat.notices()[before:] if "version" in n)


async def test_each_call_of_a_turn_is_noted_with_the_providers_figures(
    chat: Chat, stage: Stage, model: ScriptedModel
) -> None:
    model.calls("get_current_time", usage=took(700, 0.0125))
    model.says("Noon.", usage={"prompt_tokens": 800, "completion_tokens": 3, "cost": 0.03})
    await chat.ask("a very private question")
    first, second = await calls(stage, 2)
    assert (first["prompt_tokens"], float(first["cost"])) == (700, 0.0125)
    assert (second["completion_tokens"], float(second["cost"])) == (3, 0.03)
    assert second["purpose"] == "turn" and second["room_id"] == chat.room and second["turn_id"]
    assert (second["model"], second["provider"]) == ("test-model", "scripted")
    assert not second["estimated"] and not second["failed"]
    assert "private" not in str(first) + str(second)
    text = await status(chat)
    assert "1,503 tokens, $0.0425" in text and "budget" not in text


async def test_without_figures_they_are_estimated(
    chat: Chat, stage: Stage, model: ScriptedModel
) -> None:
    model.says("Forty characters are about ten tokens. ", usage={})
    await chat.ask("hello")
    (call,) = await calls(stage, 1)
    assert call["estimated"] and call["prompt_tokens"] > 500 and 10 < call["completion_tokens"] < 20
    assert call["cost"] is None


async def test_a_price_makes_a_cost(stopped: Service, stage: Stage, model: ScriptedModel) -> None:
    stopped.set("models.test-model.price", {"input": 2, "output": 10})
    model.says("Well.", usage={"prompt_tokens": 10_000, "completion_tokens": 1000})
    chat = await limited(stopped, stage, cost_per_day=0.06)
    await chat.ask("hello")
    (call,) = await calls(stage, 1)
    assert float(call["cost"]) == 0.03
    text = await status(chat)
    assert "50% of today's $0.06 for all agents together" in text
    assert text.count("$0.03") == 2, "the conversation's own figures have the cost as well"


async def test_a_stream_that_is_cut_or_stopped_counts_as_far_as_it_was_seen(
    chat: Chat, stage: Stage, model: ScriptedModel
) -> None:
    model.breaks("Once upon a time there was a king who had three sons. ")
    await chat.send("a story")
    await chat.notice()
    model.says("Once upon a time there was a queen who had three cats. ", hold=True)
    await chat.send("another")
    await chat.until(lambda: any("queen" in s.text for s in chat.said()), "a draft")
    await chat.send("/stop")
    for call in await calls(stage, 2):
        assert call["failed"] and call["estimated"]
        assert call["prompt_tokens"] > 500 and 10 < call["completion_tokens"] < 20
    model.release()


async def test_at_four_fifths_it_is_told_once_though_many_messages_follow(
    process: Process, stage: Stage, model: ScriptedModel
) -> None:
    await process.stop()
    process.set("budgets", {"tokens_per_day": 100_000})
    await process.start()
    chat = await stage.chat()
    answers(model, 20_000, 3)
    for n in range(3):
        await chat.ask(f"message {n}")
    assert not chat.notices()
    answers(model, 25_000)
    await chat.send("in a thread", thread=chat.said()[0].event_id)
    await chat.until(lambda: warned(chat), "the notice")
    (told,) = warned(chat)
    assert told.text.startswith("85% of today's budget of 100,000 tokens for all agents together")
    assert (
        "(85,000 tokens spent)" in told.text and "00:00 (UTC)" in told.text and told.thread is None
    )
    answers(model, 10, 12)
    for n in range(5):
        await chat.ask(f"more {n}")
    await process.kill9()
    # As if before it had noted what the last answer took: then the guess stands there still.
    await stage.database.fetch(
        "update usage set ended_at = null, prompt_tokens = 7000, completion_tokens = 500"
        " where at = (select max(at) from usage)"
    )
    await process.start()
    for n in range(5):
        await chat.ask(f"and more {n}")
    other = await stage.chat()
    await other.ask("hello")
    assert len(warned(chat)) == 1 and not warned(other)
    assert "85% of today's 100,000 tokens" in await status(other)


async def test_a_spent_budget_is_told_plainly_until_the_next_day(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    answers(model, 1000)
    chat = await limited(stopped, stage, tokens_per_day=1000)
    assert await chat.ask("hello") == "Well."
    text = await refused(chat)
    assert "1,000 tokens for all agents together" in text and "00:00 (UTC)" in text
    assert "`budgets.tokens_per_day` in config.yaml" in text and "\n" not in text
    assert len(text) < 400 and await refused(chat, "still?") == text
    assert len(model.requests) == 1 and not warned(chat)
    await chat.human.sees_no_typing(chat.room, chat.agent)
    assert "100% of today's 1,000 tokens" in await status(chat)
    await stage.database.fetch("update usage set at = at - interval '1 day'")
    answers(model, 10)
    await chat.send("a new day")
    await chat.until(lambda: chat.replies()[1:], "the answer")
    assert "1% of today's 1,000 tokens" in await status(chat)


async def test_one_agents_budget_is_not_anothers(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    dennis = await stage.second_agent()
    answers(model, 500, 2)
    stopped.set(
        "budgets", {"agent_tokens_per_day": 10_000, "agents": {"Dennis": {"tokens_per_day": 400}}}
    )
    await stopped.start()
    ann, _ = await stage.group(stage.agent, dennis)
    await ann.send("Dennis: hello")
    await ann.reply()
    await ann.send("Dennis: and now?")
    told = await ann.until(lambda: [n for n in ann.notices() if "and a higher" in n], "refusal")
    assert "400 tokens for this agent" in told[-1]
    assert "`budgets.agents.Dennis.tokens_per_day`" in told[-1]
    before = len(ann.replies())
    await ann.send("Memtrix: hello")
    await ann.until(lambda: len(ann.replies()) > before, "Memtrix's answer")
    assert [c["agent"] for c in await calls(stage, 2)] == ["dennis", stage.door.registration["id"]]


async def test_in_the_middle_of_a_turn_it_ends_with_what_was_said(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    model.calls("get_current_time", text="Let me look at the clock.", usage=took(100))
    model.calls("get_current_time", text="And once more.", usage=took(900))
    chat = await limited(stopped, stage, tokens_per_day=1000)
    await chat.send("what time is it?")
    await chat.until(lambda: chat.replies() and any(SPENT in n for n in chat.notices()), "the end")
    (said,) = chat.replies()
    assert "Let me look at the clock." in said and "And once more." in said
    assert all(s.final for s in chat.said()) and len(model.requests) == 2


async def test_messages_at_once_do_not_all_slip_through(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    model.default = lambda request: "Well."
    chat = await limited(stopped, stage, tokens_per_day=12_000)
    human = chat.human
    chats = [chat, *[await stage.chat(human) for _ in range(11)]]
    model.hold()
    await asyncio.gather(*(each.send("hello") for each in chats))
    await chat.until(
        lambda: sum(len(each.notices()) for each in chats) + len(model.requests) >= 12, "all"
    )
    rows = await stage.database.fetch("select * from usage where ended_at is null")
    assert len(rows) == len(model.requests) < 12
    reserved = [row["prompt_tokens"] + row["completion_tokens"] for row in rows]
    assert sum(reserved) - max(reserved) < 12_000 <= sum(reserved)
    model.release()


def condensing(request: Request) -> bool:
    return "Condense the conversation" in request.last_user


def upkeep(request: Request) -> bool:
    return "You keep the journal" in str(request.messages[0]["content"])


async def test_condensing_and_upkeep_count_as_well(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    stopped.set("models.test-model.context", 2048)
    stopped.set("models.test-model.tools", False)
    stopped.set("memory", {"upkeep": 0.01, "recall_tokens": 0})
    model.on(condensing).by_default("A summary.")
    model.on(upkeep).by_default("nothing")
    model.by_default("An answer with many words in it. " * 12)
    await stopped.start()
    chat = await stage.chat()
    for n in range(12):
        await chat.ask(f"question {n}: " + "and some more words " * 15)
    assert "condensed" in await chat.notice()

    async def both() -> bool:
        rows = await stage.database.fetch("select distinct purpose from usage")
        return {"turn", "condense", "upkeep"} <= {row["purpose"] for row in rows}

    await eventually(both, "all purposes")


async def test_upkeep_waits_for_the_next_day_and_nobody_hears_of_it(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    stopped.set("memory", {"upkeep": 0.01, "recall_tokens": 0})
    model.on(upkeep).by_default("nothing")
    answers(model, 1000)
    chat = await limited(stopped, stage, tokens_per_day=1000)
    await chat.ask("We sail on 14 June.")

    async def waiting() -> bool:
        done = "select 1 from inbox where kind = 'upkeep' and done_at is not null"
        return bool(await stage.database.fetch(done))

    await eventually(waiting, "the end of the upkeep")
    await asyncio.sleep(1.5)
    rows = await stage.database.fetch("select * from inbox where kind = 'upkeep'")
    assert len(rows) <= 2, "asked for once an hour"
    (session,) = await stage.database.fetch("select journaled_to from sessions")
    assert session["journaled_to"] == 0 and not [r for r in model.requests if upkeep(r)]
    assert len(chat.notices()) == 1, "of the answer that used the whole budget up"


async def test_a_call_that_died_with_its_process_counts_as_it_was_reserved(
    process: Process, stage: Stage, model: ScriptedModel
) -> None:
    await process.stop()
    process.set("budgets", {"tokens_per_day": 100_000})
    await process.start()
    chat = await stage.chat()
    model.hold()
    await chat.send("hello?")
    await model.wait_for_requests(1)
    await process.kill9()
    model.release()
    model.forget()
    answers(model, 10)
    await process.start()
    assert await chat.reply() == "Well."
    rows = await stage.database.fetch("select * from usage order by at")
    assert [row["ended_at"] is None for row in rows] == [True, False]
    assert rows[0]["estimated"] and rows[0]["prompt_tokens"] > 500
    assert rows[0]["completion_tokens"] == 500
