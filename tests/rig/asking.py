"""What tests of questions do in a room: have one asked, find it, see how it ended."""

from memtrix_as.testing import ScriptedModel
from tests.rig.api import Json
from tests.rig.chat import Chat
from tests.rig.timeline import Answer


async def question(chat: Chat, about: str = "ring") -> Answer:
    """The question in the room, as it was asked."""

    def found() -> Answer | None:
        return next((s for s in chat.said() if s.msgtype == "m.notice" and about in s.text), None)

    return await chat.until(found, f"a question about {about}")


async def ended(chat: Chat, how: str, about: str = "ring") -> Answer:
    """The question, once it shows how it ended."""

    def found() -> Answer | None:
        return next((s for s in chat.said() if about in s.text and how in s.text), None)

    return await chat.until(found, f"the question to end {how!r}")


def results(model: ScriptedModel, request: int = -1) -> list[str]:
    return [m["content"] for m in model.requests[request].messages if m["role"] == "tool"]


def reactions(chat: Chat, event_id: str) -> list[str]:
    relations = [e["content"].get("m.relates_to", {}) for e in chat.events("m.reaction")]
    return [str(r.get("key")) for r in relations if r.get("event_id") == event_id]


async def asked(chat: Chat, model: ScriptedModel, text: str = "ring it") -> Answer:
    """Have the model call `ring`, up to the question."""
    model.calls("ring", bell="gong")
    await chat.send(text)
    return await question(chat)


async def notice(chat: Chat, about: str) -> str:
    return (await question(chat, about)).text


Row = tuple[str, Json, str]  # a tool, its arguments, and words that the model is to be told


async def told(chat: Chat, model: ScriptedModel, *calls: tuple[str, Json]) -> list[str]:
    """What the model is told of these calls, which it makes in one message; nobody is asked."""
    model.calls(*(part for call in calls for part in call))
    model.says("Done.")
    asked = sum("for permission" in text for text in chat.notices())
    assert await chat.ask("go on") == "Done."
    assert sum("for permission" in text for text in chat.notices()) == asked
    return results(model)[-len(calls) :]


async def tells(chat: Chat, model: ScriptedModel, *rows: Row) -> None:
    """See that the model is told of each call what its row says."""
    said = await told(chat, model, *((name, arguments) for name, arguments, _ in rows))
    wrong = [(row, text[:300]) for row, text in zip(rows, said, strict=True) if row[2] not in text]
    assert not wrong, wrong


async def permitted(
    chat: Chat, model: ScriptedModel, name: str, word: str = "yes", **arguments: object
) -> tuple[str, str]:
    """The question about one call, and what the model is told once it is answered."""
    model.calls(name, **arguments)
    asked_before = [said.event_id for said in chat.said()]
    await chat.send("go on")

    def asking() -> Answer | None:
        new = [s for s in chat.said() if s.event_id not in asked_before]
        return next((s for s in new if "for permission" in s.text and name in s.text), None)

    asked = await chat.until(asking, f"a question about {name}")
    model.says("So be it.")
    await chat.send(word, reply_to=asked.event_id)
    assert await chat.reply() == "So be it."
    return asked.text, results(model)[-1]
