"""A generated day of chat: nothing that somebody said reaches a prompt for who did not hear it."""

import asyncio
import json
import random
import re
from dataclasses import dataclass

import pytest

from memtrix_as.testing import ScriptedModel
from memtrix_as.testing.script import Reply, Request
from tests.rig.chat import Chat
from tests.rig.human import Human
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage

pytestmark = only("direct")

AGENTS = ("dennis", "olga", "paul", "quentin")
TOPICS = (
    "The boat Nessie needs new paint before the harbour opens in April",
    "The garden shed leaks and the carpenter wants timber for the roof",
    "The tax office in Bern refuses the receipts of the orchestra",
    "The ferry to the island was cancelled and the violin teacher is stuck",
    "The landlord raised the rent and the neighbour's dog chewed the fence",
    "The marathon in October clashes with the choir's concert in the abbey",
)
TOKEN = re.compile(r"zq\d+x")
MESSAGES = 140


@dataclass
class Talk:
    """A room with these humans; one of its agents is spoken to."""

    chats: list[Chat]
    agents: list[str]

    @property
    def people(self) -> frozenset[str]:
        return frozenset(chat.human.user_id for chat in self.chats)


class Gossip:
    """A model that repeats whatever it can: in answers, journals, searches and questions."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def __call__(self, request: Request) -> Reply | str:
        tokens = TOKEN.findall(str(request.messages))
        last = TOKEN.findall(request.last_user)
        seen = " ".join([*self.dice.sample(tokens, min(3, len(tokens))), *last[-1:]])
        rounds = sum(m["role"] == "tool" for m in request.messages[-4:])
        if not request.tools or rounds or self.dice.random() < 0.25:
            return f"I know of this: {seen}"
        topic = self.dice.choice(TOPICS)
        calls = {
            "ask_agent": {
                "name": self.dice.choice((*AGENTS, "Memtrix")),
                "message": f"{topic}? I know {seen}",
            },
            "write_memory_file": {"section": "Learned", "content": f"- {topic}: {seen}"},
            "search_memory": {"query": topic},
            "read_memory_file": {},
        }
        offered = {tool["function"]["name"] for tool in request.tools}
        names = [name for name in ("ask_agent", "ask_agent", *calls) if name in offered]
        name = self.dice.choice(names)
        return Reply(calls=[(name, json.dumps(calls[name]))])


async def people_and_rooms(stage: Stage) -> list[Talk]:
    """Four humans; seven rooms alone with an agent, five with company: twelve in all."""
    humans = [await stage.person(name) for name in ("ann", "ben", "cem", "dot")]
    users = {name: stage.door.user(f"memtrix_{name}") for name in AGENTS}
    users["memtrix"] = stage.agent
    alone = [(0, "memtrix"), (0, "dennis"), (1, "memtrix"), (1, "dennis"), (2, "dennis"),
             (2, "olga"), (3, "paul")]  # fmt: skip
    company = [((0, 1), ("dennis",)), ((0, 2), ("memtrix", "dennis")), ((1, 2, 3), ("olga",)),
               ((0, 1, 2, 3), ("memtrix", "paul")), ((2, 3), ("dennis", "quentin"))]  # fmt: skip
    talks = [await room(stage, [humans[who]], [users[name]]) for who, name in alone]
    talks += [
        await room(stage, [humans[who] for who in some], [users[name] for name in names])
        for some, names in company
    ]
    return talks


async def room(stage: Stage, humans: list[Human], agents: list[str]) -> Talk:
    first, *rest = humans
    room_id = await first.create_room(*agents, *(human.user_id for human in rest))
    for human in rest:
        await human.join(room_id)
    for user in (*agents, *(human.user_id for human in humans)):
        await first.sees_member(room_id, user)
    return Talk([Chat(human, room_id, agents[0]) for human in humans], agents)


def leaks(requests: list[Request], heard: dict[str, frozenset[str]]) -> list[str]:
    """What stands in a prompt although somebody whom it is for did not hear it."""
    found = []
    for number, request in enumerate(requests):
        spoken = TOKEN.findall(request.last_user)
        if not spoken:
            continue
        audience = heard[spoken[-1]]
        for token in set(TOKEN.findall(str(request.messages))):
            if not audience <= heard[token]:
                missing = sorted(audience - heard[token])
                found.append(f"request {number}: {token} was not heard by {missing}")
    return found


@pytest.mark.parametrize("seed", [1125, 2026])
async def test_a_day_of_chat_leaks_nothing(
    stopped: Service, stage: Stage, model: ScriptedModel, seed: int
) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    for name in AGENTS:
        await stage.second_agent(name)
    stopped.set("limits.concurrent_turns", 8)
    await stopped.start()
    talks = await people_and_rooms(stage)
    model.default = Gossip(dice)
    heard: dict[str, frozenset[str]] = {}
    for number in range(MESSAGES):
        talk = dice.choice(talks)
        chat = dice.choice(talk.chats)
        token = f"zq{number}x"
        heard[token] = talk.people
        agent = dice.choice(talk.agents)
        text = f"{dice.choice(TOPICS)}: {token}"
        before = len(chat.replies())
        await chat.send(text, mentions=(agent,))
        await chat.until(lambda c=chat, b=before: len(c.replies()) > b, "an answer")  # type: ignore[misc]
        if number % 10 == 0:
            await asyncio.sleep(0.3)  # what was said is in the index then
    assert len(model.requests) > MESSAGES * 1.3
    asked = await stage.database.fetch("select from consultations where state = 'answered'")
    noted = await stage.database.fetch("select from messages where note is not null")
    found = [r for r in model.requests if "found for this message" in str(r.messages)]
    assert len(asked) > 10 and noted and found, "the day was too quiet to show anything"
    assert not leaks(model.requests, heard)
