"""What an agent remembers, from one room to another, from one day to another, and for whom."""

from datetime import timedelta
from typing import Any

import pytest

from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.embeddings import EmbeddingServer
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage
from tests.rig.waiting import eventually

pytestmark = only("direct")


@pytest.fixture
async def minded(stopped: Service, embeddings: EmbeddingServer) -> Service:
    """The service with a real embedding model, and nothing shown unasked."""
    stopped.set("embeddings", embeddings.settings)
    stopped.set("memory", {"recall_tokens": 0})
    await stopped.start()
    return stopped


async def tell(chat: Chat, model: ScriptedModel, text: str, answer: str = "Noted.") -> None:
    model.says(answer)
    assert await chat.ask(text) == answer


async def indexed(stage: Stage, vectors: bool = False) -> None:
    """Wait until everything said is in the index, and has its vector if that is asked for."""
    wanting = "select 1 from turns where not indexed"
    missing = "select 1 from passages where id not in (select passage from vectors)"
    for query in [wanting, missing] if vectors else [wanting]:
        await eventually(lambda query=query: _none(stage, query), "the index")  # type: ignore[misc]


async def _none(stage: Stage, query: str) -> bool:
    return not await stage.database.fetch(query)


async def age(stage: Stage, service: Service, days: int) -> str:
    """Let everything so far have been said some days ago; returns the day."""
    await service.stop()
    await stage.database.fetch("delete from passages")
    rows = await stage.database.fetch(
        "update turns set started_at = started_at - $1::interval, indexed = false returning"
        " (started_at at time zone 'UTC')::date as day",
        timedelta(days=days),
    )
    await service.start()
    await indexed(stage)
    return str(rows[0]["day"])


async def search(chat: Chat, model: ScriptedModel, query: str, **arguments: Any) -> str:
    """What the tool finds when the agent of this chat searches."""
    model.calls("search_memory", query=query, **arguments)
    model.says("That is what I found.")
    await chat.ask(f"(search for {query})")
    return str(
        next(m["content"] for m in reversed(model.requests[-1].messages) if m["role"] == "tool")
    )


async def test_a_fact_is_found_in_another_room_days_later(
    minded: Service, stage: Stage, model: ScriptedModel
) -> None:
    ann = await stage.person()
    first = await stage.chat(ann)
    await tell(first, model, "Our sailing boat is called Nessie and lies in Flensburg.")
    event = first.events("m.room.message")[0]["event_id"]
    day = await age(stage, minded, 3)
    await indexed(stage, vectors=True)
    found = await search(await stage.chat(ann), model, "what is the name of our ship?")
    assert "Nessie" in found and day in found
    assert f"https://matrix.to/#/{first.room}/{event}" in found


async def test_the_answer_counts_as_said_too(
    minded: Service, stage: Stage, model: ScriptedModel
) -> None:
    ann = await stage.person()
    await tell(await stage.chat(ann), model, "Which paint?", "Take the epoxy primer, number 4711.")
    await indexed(stage)
    assert "4711" in await search(await stage.chat(ann), model, "primer number")


async def test_a_correction_comes_first(
    minded: Service, stage: Stage, model: ScriptedModel
) -> None:
    ann = await stage.person()
    chat = await stage.chat(ann)
    await tell(chat, model, "My dentist is Doctor Winter in the Hafenstrasse.")
    await age(stage, minded, 5)
    await tell(chat, model, "My dentist is Doctor Sommer in the Hafenstrasse now.")
    await indexed(stage, vectors=True)
    found = await search(await stage.chat(ann), model, "who is my dentist?")
    assert 0 <= found.index("Sommer") < found.index("Winter")


async def test_far_into_a_long_day(minded: Service, stage: Stage, model: ScriptedModel) -> None:
    ann = await stage.person()
    chat = await stage.chat(ann)
    for number in range(12):
        await tell(chat, model, f"Note {number}: the weather was fine and we ate cake. " * 3)
    await tell(chat, model, "The locker at the swimming pool opens with 2580.")
    await indexed(stage, vectors=True)
    found = await search(await stage.chat(ann), model, "code of the locker at the pool")
    assert "2580" in found


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("The invoice has the number RE-2026-00417.", "RE-2026-00417"),
        ("Mein Bruder heißt Krzysztof Błaszczyk.", "krzysztof blaszczyk"),
        ("The plant is a Zamioculcas.", "zamioculcas"),
    ],
)
async def test_numbers_names_and_rare_words(
    minded: Service, stage: Stage, model: ScriptedModel, text: str, query: str
) -> None:
    ann = await stage.person()
    chat = await stage.chat(ann)
    await tell(chat, model, "We talked about lunch and the garden.")
    await tell(chat, model, text)
    await indexed(stage)
    assert text in await search(await stage.chat(ann), model, query)


async def test_it_says_when_nothing_fits(
    minded: Service, stage: Stage, model: ScriptedModel
) -> None:
    ann = await stage.person()
    await tell(await stage.chat(ann), model, "Our sailing boat is called Nessie.")
    await indexed(stage, vectors=True)
    found = await search(await stage.chat(ann), model, "the melting point of tungsten")
    assert found.startswith("Nothing in memory fits") and "tungsten" in found


async def test_days_can_be_chosen(minded: Service, stage: Stage, model: ScriptedModel) -> None:
    ann = await stage.person()
    await tell(await stage.chat(ann), model, "The boat was painted green.")
    day = await age(stage, minded, 10)
    chat = await stage.chat(ann)
    assert "green" in await search(chat, model, "boat", first_day=day, last_day=day)
    assert "Nothing" in await search(await stage.chat(ann), model, "boat", first_day="2999-01-01")
    assert "first_day" in await search(await stage.chat(ann), model, "boat", first_day="recently")


async def test_another_human_does_not_get_it(
    minded: Service, stage: Stage, model: ScriptedModel
) -> None:
    ann, ben = await stage.person("ann"), await stage.person("ben")
    await tell(await stage.chat(ann), model, "The combination of my safe is 8802.")
    await indexed(stage)
    assert "8802" in await search(await stage.chat(ann), model, "combination of the safe")
    assert "8802" not in await search(await stage.chat(ben), model, "combination of the safe")


async def test_what_was_said_alone_stays_out_of_company(
    minded: Service, stage: Stage, model: ScriptedModel
) -> None:
    group = await stage.group()
    ann = group[0].human
    await tell(await stage.chat(ann), model, "The combination of my safe is 8802.")
    model.says("Good.")
    await group[0].ask(f"{stage.agent}: the party begins at seven.")
    await indexed(stage)
    model.calls("search_memory", query="combination of the safe, and the party")
    model.says("Nothing about a safe.")
    await group[0].ask(f"{stage.agent}: what do you know?")
    found = str(model.requests[-1].messages[-1]["content"])
    assert "seven" in found and "8802" not in found
    alone = await search(await stage.chat(ann), model, "safe combination party")
    assert "seven" in alone and "8802" in alone


async def test_who_asks_and_leaves_does_not_get_it(
    minded: Service, stage: Stage, model: ScriptedModel
) -> None:
    ann, ben = await stage.person("ann"), await stage.person("ben")
    await tell(await stage.chat(ann), model, "The combination of my safe is 8802.")
    await indexed(stage)
    chat = await stage.chat(ben)
    model.hold()
    model.calls("search_memory", query="combination of the safe")
    model.says("There is nothing.")
    await chat.send("What do you know of a safe?")
    await model.asked(2)
    await ben.leave(chat.room)
    await eventually(
        lambda: _none(stage, f"select 1 from members where user_id = '{ben.user_id}'"),
        "ben to be gone",
    )
    model.release()
    await model.asked(3)
    assert "Nothing in memory fits" in str(model.requests[-1].messages[-1]["content"])


async def test_who_comes_later_does_not_know(
    minded: Service, stage: Stage, model: ScriptedModel
) -> None:
    ann, ben = await stage.person("ann"), await stage.person("ben")
    chat = await stage.chat(ann)
    await tell(chat, model, "Ben gets a bicycle for his birthday.")
    await ann.invite(chat.room, ben.user_id)
    await ben.join(chat.room)
    await chat.sees_member(ben.user_id)
    await indexed(stage)
    assert "bicycle" not in await search(await stage.chat(ben), model, "birthday present")


async def test_another_agent_does_not_find_it(
    minded: Service, stage: Stage, model: ScriptedModel
) -> None:
    ann = await stage.person()
    await tell(await stage.chat(ann), model, "Our sailing boat is called Nessie.")
    await minded.stop()
    dennis = await stage.second_agent()
    await minded.start()
    await indexed(stage)
    (chat,) = await stage.group(dennis, humans=1)
    assert "Nessie" not in await search(chat, model, "name of the boat")


async def test_what_is_withdrawn_is_forgotten(
    minded: Service, stage: Stage, model: ScriptedModel
) -> None:
    ann = await stage.person()
    chat = await stage.chat(ann)
    await tell(chat, model, "The combination of my safe is 8802.")
    await tell(chat, model, "The combination of the bicycle is blue.")
    await indexed(stage)
    await chat.redact(chat.events("m.room.message")[0]["event_id"])
    await eventually(
        lambda: _none(stage, "select 1 from passages where array_to_string(parts, ' ') ~ '8802'"),
        "the withdrawn words to go",
    )
    await indexed(stage)
    found = await search(await stage.chat(ann), model, "combination")
    assert "blue" in found and "8802" not in found


async def test_memory_comes_before_the_question(
    stopped: Service, stage: Stage, model: ScriptedModel
) -> None:
    await stopped.start()
    ann = await stage.person()
    await tell(await stage.chat(ann), model, "Our sailing boat is called Nessie.")
    day = await age(stage, stopped, 2)
    chat = await stage.chat(ann)
    await tell(chat, model, "How is the sailing boat called?", "Nessie.")
    asked = str(model.requests[-1].messages[-1]["content"])
    assert "Nessie" in asked and day in asked and "From your memory" in asked
    assert asked.endswith("How is the sailing boat called?")
    await tell(chat, model, "And how is the sailing boat doing?", "Well.")
    asked = str(model.requests[-1].messages[-1]["content"])
    assert "How is the sailing boat called" not in asked, "what the model sees anyway"
    await chat.send("/recall off")
    assert "do not look up" in await chat.notice()
    await tell(await stage.chat(ann), model, "The sailing boat?", "Nessie.")
    assert model.requests[-1].messages[-1]["content"] == "The sailing boat?"


async def test_what_hardly_fits_is_not_brought_up(
    chat: Chat, stage: Stage, model: ScriptedModel
) -> None:
    await tell(chat, model, "Our sailing boat is called Nessie, and she lies in Flensburg.")
    await indexed(stage)
    other = await stage.chat(chat.human)
    await tell(other, model, "Is the boat trip to Helgoland worth its price in a wet spring?")
    assert model.requests[-1].messages[-1]["content"].startswith("Is the boat trip")
    assert "Nessie" in await search(await stage.chat(chat.human), model, "boat")


async def test_status_tells_of_the_memory(chat: Chat, model: ScriptedModel, stage: Stage) -> None:
    await tell(chat, model, "Our sailing boat is called Nessie.")
    await indexed(stage)
    await chat.send("/status")
    assert "1 passage; searched by words alone" in await chat.notice()


async def test_what_a_tool_brought_is_not_for_who_comes_later(
    minded: Service, stage: Stage, model: ScriptedModel
) -> None:
    ann, ben = await stage.person("ann"), await stage.person("ben")
    (minded.folder / "workspace" / "USER.md").write_text("Ann has a secret garden.\n")
    chat = await stage.chat(ann)
    model.calls("read_core_file", filename="USER.md", text="One moment.")
    model.says("You like plants.")
    await chat.ask("What do you know of me?")
    assert "secret garden" in str(model.requests[-1].body)
    await ann.invite(chat.room, ben.user_id)
    await ben.join(chat.room)
    await chat.sees_member(ben.user_id)
    model.says("Hello Ben.")
    await chat.ask(f"{stage.agent}: say hello to Ben")
    seen = str(model.requests[-1].body)
    assert "You like plants" in seen and "One moment" in seen, "the room shows it"
    assert "secret garden" not in seen
    await ben.leave(chat.room)
    await chat.sees_member(ben.user_id, "leave")
    model.says("Alone again.")
    await chat.ask("And now?")
    assert "secret garden" in str(model.requests[-1].body)
