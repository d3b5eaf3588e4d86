"""What tests of agents do: have one made in a chat, and bring it into a room."""

from collections.abc import Callable

from memtrix_as.testing import ScriptedModel
from memtrix_as.testing.script import Request, Script
from tests.rig.chat import Chat
from tests.rig.human import Human
from tests.rig.stage import Stage

DRAFT = """\
FIELD:
You cook, and you know why a sauce breaks. You ask who will eat before you propose a dish.

SOUL:
You are cheerful, a little greedy, and you never waste food. You taste everything twice."""


def drafts(model: ScriptedModel) -> Script:
    """Answer whoever asks for the first words about an agent."""
    script = model.on(lambda request: "new assistant" in request.last_user)
    return script.by_default(DRAFT)


async def make(
    chat: Chat, model: ScriptedModel, name: str = "Dennis", what: str = "Cooking and recipes"
) -> None:
    """Have the main agent make one, in a chat."""
    drafts(model)
    model.calls("create_agent", name=name, description=what)
    model.says(f"{name} is ready!")

    def asked() -> int:
        return sum(f"makes a new agent, {name}" in said.text for said in chat.said())

    before = asked()
    await chat.send(f"Create me an expert. Call him {name}.")
    await chat.until(lambda: asked() > before, "the question")
    await chat.send("yes")
    assert await chat.reply() == f"{name} is ready!"


async def room_with(stage: Stage, human: Human, user: str) -> Chat:
    """A direct room of a human with this agent."""
    room = await human.create_room(user, is_direct=True)
    await human.sees_member(room, user)
    return Chat(human, room, user)


def speaks(name: str) -> Callable[[Request], bool]:
    """Whether a request is of the agent with this name."""
    return lambda request: f"You are {name}," in str(request.messages[0]["content"])


def script(model: ScriptedModel, name: str) -> Script:
    return model.on(speaks(name))


def requests(model: ScriptedModel, name: str) -> list[Request]:
    return [request for request in model.requests if speaks(name)(request)]
