"""What tests of questions do in a room: have one asked, find it, see how it ended."""

from memtrix_as.testing import ScriptedModel
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
