"""An administrator asks an agent something from elsewhere: its answer comes back as a notice."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from memtrix_as.agent import context, questions
from memtrix_as.agent.means import Means
from memtrix_as.db import agents, consultations, corrections, inbox, outbox, queue, turns
from memtrix_as.db.agents import Agent
from memtrix_as.db.inbox import Arrival, Item
from memtrix_as.db.pool import Connection, Pool
from memtrix_as.db.queue import Lease
from memtrix_as.db.turns import Ending, Said, Turn
from memtrix_as.memory.company import Company
from memtrix_as.messages import Incoming, Message, Place

KIND = "errand"
ASKED = """\
[{by}, an administrator, asks you this from the management room. Answer in full, in one message; \
nobody can confirm anything here.]
{question}"""


async def put(
    db: Connection | Pool, agent: Agent, question: str, by: str, place: Place, event_id: str,
    company: Company,
) -> None:  # fmt: skip
    """Put the question into the agent's inbox, on behalf of those who are in `place`."""
    room_id = consultations.pair(place.agent, company.people)
    await consultations.furnish(db, room_id, company.people)
    payload = {
        "sender": by, "question": question, "room_id": place.room_id, "agent": place.agent,
        "thread": place.thread, "event_id": event_id,
    }  # fmt: skip
    lane = inbox.consults(agent.name)
    await inbox.put(
        db, [Arrival(lane, KIND, room_id, agent.name, event_id, payload, company.people)]
    )


async def heard(means: Means, item: Item) -> tuple[Incoming, list[Said]]:
    """The question as its turn reads it; whoever asks is taken for an agent: nobody confirms."""
    by, question = str(item.payload["sender"]), str(item.payload["question"])
    main = await agents.get(means.pool, str(item.payload["agent"]))
    message = Message("user", ASKED.format(by=by, question=question))
    place = Place(item.room_id, item.agent)
    incoming = Incoming(f"~{item.id}", place, main.user_id, question, item.received_at)
    return incoming, [Said(item.id, None, message, context.tokens(message))]


@dataclass(frozen=True)
class ToAsker:
    """Where the words of such a turn go: into the room that the question came from."""

    means: Means
    item: Item
    lease: Lease
    turn: Turn

    aside: str | None = None
    reply_to: str | None = None

    def feed(self, text: str) -> None:
        """The answer is shown whole."""

    async def finish(self) -> None:
        """Nothing is shown meanwhile."""

    def resume(self) -> None:
        """Nobody is asked anything in between."""

    async def end(self, ending: Ending, outside: str) -> None:
        """Say the answer there, in the commit that ends the turn."""
        text = ending.error or next((w.text for w in ending.words if w.kind == "text"), "")
        own = Place(self.item.room_id, self.item.agent)
        async with self.means.pool.acquire() as db, db.transaction():
            if ending.error:
                await inbox.hold(db, self.item.id)
                await corrections.unask(db, self.turn.id)
            await turns.end(db, self.item, self.lease, self.turn, own, replace(ending, words=()))
            await say(db, self.item.payload, self.turn.agent_name, text)


async def say(db: Connection | Pool, errand: Mapping[str, Any], name: str, text: str) -> None:
    """Say where an errand came from what has come of it."""
    place = Place(str(errand["room_id"]), str(errand["agent"]), errand.get("thread"))
    lane = inbox.turns(place.agent, place.room_id)
    words = f"**{questions.plain(name, 60)}:** {text}"
    await outbox.say(db, lane, place, words, reply_to=str(errand["event_id"]))
    await queue.wake(db, lane)
