"""No history of events runs a call twice, without its yes, or otherwise than it was asked about.

Messages, answers of anybody, edits, redactions, /stop, expiry, and two workers that are stopped
or killed before any statement, in every order that hypothesis can think of: against the real
database, gate, turns and approvals. What may run is judged from outside, by what was sent before.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from memtrix_as.agent import approvals as answering
from memtrix_as.config import Config
from memtrix_as.db import agents, inbox, queue
from memtrix_as.db.agents import Agent
from memtrix_as.db.inbox import Arrival
from memtrix_as.db.pool import Pool, connect
from memtrix_as.messages import Message, Reply, ToolCall
from memtrix_as.tool import Tool, ToolContext, tool
from tests.rig.bench import ANN, CONTROLS, LANE, MAIN, ROOM, Bench, Model, open_room, settle
from tests.rig.database import Database
from tests.rig.mortal import LIVELY, PROCESS, Worker

EVE, ADA = "@eve:hs.test", "@ada:hs.test"  # may chat; administers
ENTITLED = (ANN, ADA)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = await connect(database.dsn, size=20)
    yield pool
    await pool.close()


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return settle(tmp_path_factory.mktemp("config"), **{ADA: "admin"})


class Caller(Model):
    """Calls three tools after each message, each time with other arguments than ever before."""

    def __init__(self) -> None:
        super().__init__(())
        self.made: dict[str, ToolCall] = {}  # by the bell that it names

    async def stream(self, messages: Any, tools: Any, *, timeout: float) -> AsyncIterator[Any]:
        if messages[-1].role != "user":
            yield Reply(Message("assistant", "Done."))
            return
        calls = []
        for n, name in enumerate(("ring", "chime", "chime")):
            bell = f"bell{len(self.made)}"
            # The ids are the same in each message, as those of many servers are.
            calls.append(ToolCall(f"call_{n}", name, {"bell": bell, "night": n == 1}))
            self.made[bell] = calls[-1]
        yield Reply(Message("assistant", calls=tuple(calls)))


@dataclass
class World:
    """What can be known from outside: what the model asked for, humans said, and tools did."""

    pool: Pool
    model: Caller = field(default_factory=Caller)
    yes: set[str] = field(default_factory=set)  # bells to which somebody entitled has said yes
    always: set[str] = field(default_factory=set)  # tools likewise
    ran: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    shown: dict[int, tuple[str, str]] = field(default_factory=dict)  # question: tool, bell
    last: Arrival | None = None
    fate: str = ""  # of the process that runs the next call

    def runs(self, name: str, bell: str, night: bool) -> None:
        call = self.model.made.get(bell)
        if bell in self.ran:
            self.wrong.append(f"{bell} twice")
        if call is None or (call.name, call.arguments) != (name, {"bell": bell, "night": night}):
            self.wrong.append(f"{name} {bell} {night} was never asked for")
        if (name == "ring" or night) and bell not in self.yes and name not in self.always:
            self.wrong.append(f"{bell} without a yes")
        self.ran.append(bell)

    async def lasts(self) -> None:
        """A call that has begun: its process may be killed in the middle, or stand still."""
        process, fate, self.fate = PROCESS.get(), self.fate, ""
        process.dead |= fate == "killed"
        process.fuel = 0 if fate == "stands" else process.fuel
        await process.step()

    def tools(self) -> dict[str, Tool]:
        world = self

        async def at_night(ctx: ToolContext, arguments: Mapping[str, Any]) -> str | None:
            return f"Chime {arguments['bell']} at night?" if arguments["night"] else None

        @tool(confirm=True)
        async def ring(bell: str, night: bool = False) -> str:
            """Ring.

            Args:
                bell: which
                night: whether it is
            """
            world.runs("ring", bell, night)
            await world.lasts()
            return f"{bell} rang."

        @tool(confirm_if=at_night, alone=True)
        async def chime(bell: str, night: bool = False) -> str:
            """Chime.

            Args:
                bell: which
                night: whether it is
            """
            world.runs("chime", bell, night)
            await world.lasts()
            return f"{bell} chimed."

        return {"ring": ring, "chime": chime}

    async def questions(self) -> list[int]:
        """All that stand in the room, the newest last; each says what it is about."""
        rows = await self.pool.fetch(
            """
            select a.id, a.tool, a.arguments->>'bell' as bell, o.text from approvals a
            join outbox o on o.id = a.question_id join sent s on s.outbox_id = o.id
            where a.question <> '' order by a.id
            """
        )
        for row in rows:
            assert f'"{row["bell"]}"' in row["text"] and f"`{row['tool']}`" in row["text"]
            self.shown[row["id"]] = (row["tool"], row["bell"])
        return [row["id"] for row in rows]

    async def outcomes(self) -> list[tuple[str, str]]:
        """Each bell that was asked about, and what the room shows of how that ended."""
        return [
            (row["bell"], row["told"])
            for row in await self.pool.fetch(
                """
                select a.arguments->>'bell' as bell, string_agg(o.text, ' ') as told
                from approvals a join outbox o on o.replaces = a.question_id and o.kind = 'notice'
                group by a.id
                """
            )
        ]

    async def answer(self, which: int, word: str, who: str) -> None:
        asked = await self.questions()
        if not asked:
            return
        question = asked[which % len(asked)]
        name, bell = self.shown[question]
        if who in ENTITLED and word != "no":
            self.yes.add(bell)
            if word == "always":
                self.always.add(name)
        await self.arrives("approval", CONTROLS, answer=word, approval=question, sender=who)

    async def arrives(self, kind: str, lane: str, **payload: Any) -> str:
        count = await self.pool.fetchval("select count(*) from inbox")
        event = f"$in{count}"
        raw = {"event_id": event, "room_id": ROOM, "type": "m.room.message", "sender": ANN}
        agent = "memtrix" if lane in (LANE, CONTROLS) else ""
        self.last = Arrival(lane, kind, ROOM, agent, event, {**raw, **payload})
        await inbox.put(self.pool, [self.last])
        return event

    async def says(self, text: str) -> str:
        where = ("command", CONTROLS) if text.startswith("/") else ("message", LANE)
        return await self.arrives(*where, content={"msgtype": "m.text", "body": text})

    async def edits(self, event: str) -> None:
        content = {"m.new_content": {"msgtype": "m.text", "body": "ring them all"},
                   "m.relates_to": {"rel_type": "m.replace", "event_id": event}}  # fmt: skip
        await self.arrives("edit", inbox.controls(ROOM), content=content)

    async def redacts(self, event: str) -> None:
        await self.arrives(
            "redaction", inbox.controls(ROOM), type="m.room.redaction", content={"redacts": event}
        )

    async def unasks(self) -> None:
        """Somebody deletes the newest question from the room."""
        event = await self.pool.fetchval(
            "select event_id from sent join approvals on question_id = outbox_id"
            " order by id desc limit 1"
        )
        if event:
            await self.redacts(event)


FUEL = st.integers(1, 60)
GOES = st.tuples(st.just("goes"), st.integers(0, 1), FUEL, st.booleans())
ANSWER = st.tuples(
    st.just("answer"),
    st.sampled_from([-1, -2, -3, 0]),
    st.sampled_from(["yes", "yes", "yes", "no", "always"]),
    st.sampled_from([ANN, ANN, ADA, EVE]),
)
EVENT = st.sampled_from(["again", "expire", "stop", "edit", "redact", "unask", "say"])
CALL = st.tuples(st.just("in a call"), st.sampled_from(["killed", "stands"]))
WORK, LOST = st.just(("work",)), st.just(("lost",))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.one_of(GOES, ANSWER, WORK, LOST, EVENT.map(lambda name: (name,)))),
        st.tuples(st.just(("both go", 30, 30)) | st.tuples(st.just("both go"), FUEL, FUEL)),
        st.tuples(WORK, ANSWER, ANSWER, GOES),
        st.tuples(CALL, ANSWER, ANSWER, WORK, LOST),
        st.tuples(ANSWER, GOES, LOST, WORK),
    ),
    max_size=7,
).map(lambda blocks: [step for block in blocks for step in block])


async def step(world: World, workers: list[Worker], first: str, what: tuple[Any, ...]) -> None:
    match what:
        case ("goes", number, fuel, dies):
            await workers[number].goes(fuel, dies)
        case ("both go", *fuel):
            await asyncio.gather(*(w.goes(n) for w, n in zip(workers, fuel, strict=True)))
        case ("work",):
            await workers[0].goes(LIVELY)
        case ("answer", which, word, who):
            await world.answer(which, word, who)
        case ("in a call", fate):
            world.fate = fate
        case (event,):
            happen: dict[str, Callable[[], Awaitable[Any]]] = {
                "lost": lambda: queue.recover(world.pool),  # another's is what is being done
                "again": lambda: inbox.put(world.pool, [world.last] if world.last else []),
                "expire": lambda: expire(world, workers[0].bench),
                "stop": lambda: world.says("/stop"),
                "edit": lambda: world.edits(first),
                "redact": lambda: world.redacts(first),
                "unask": world.unasks,
                "say": lambda: world.says("yes"),
            }
            await happen[event]()


async def expire(world: World, bench: Bench) -> None:
    """The time of all questions is up, and a process that lives looks at them."""
    await world.pool.execute("update approvals set expires_at = now() where state = 'open'")
    await answering.Expiry(replace(bench.means, pool=world.pool)).look()


async def come_to_an_end(world: World, workers: list[Worker], word: str | None) -> None:
    """All are killed; what is left ends in one that lives on, with this answer or by itself."""
    for _ in range(12):
        for worker in workers:
            await worker.is_killed()
        await queue.recover(world.pool)
        await workers[0].goes(LIVELY)
        if word:
            for number in range(len(await world.questions())):
                await world.answer(number, word, ANN)
            await workers[1].goes(LIVELY)
        await expire(world, workers[1].bench)
        if not await world.pool.fetchval("select count(*) from inbox where done_at is null"):
            break
    await workers[0].goes(LIVELY)


LEFT = {
    "an item": "select count(*) from inbox where done_at is null",
    "a turn": "select count(*) from turns where state in ('running', 'parked')",
    "a question": "select count(*) from approvals where state = 'open'",
    "words": "select count(*) from outbox where sent_at is null and failed is null",
}


@settings(
    max_examples=150,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink a history takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS, word=st.sampled_from(["yes", "yes", "no", None]))
@example(
    steps=[("work",), ("answer", 0, "yes", ANN), ("goes", 0, 25, True), ("lost",), ("work",)],
    word=None,
)
@example(
    steps=[("work",), ("answer", 0, "yes", EVE), ("again",), ("answer", -1, "no", ADA)], word=None
)
@example(
    steps=[("work",), ("answer", 0, "yes", ANN), ("goes", 0, 30, False), ("stop",), ("work",)],
    word=None,
)
async def test_no_history_runs_a_call_twice_or_without_its_yes(
    pool: Pool,
    database: Database,
    settled: Config,
    tmp_path: Path,
    steps: list[tuple[Any, ...]],
    word: str | None,
) -> None:
    await database.empty()
    await agents.keep_main(pool, Agent("memtrix", MAIN, "Memtrix", True, "m", False, False))
    world = World(pool)
    tools = world.tools()
    workers = [Worker(pool, tmp_path, world.model, tools, settled) for _ in range(2)]
    await open_room(pool)
    first = await world.says("ring them")
    try:
        for what in steps:
            await step(world, workers, first, what)
            assert not world.wrong
        await come_to_an_end(world, workers, word)
    finally:
        for worker in workers:
            await worker.is_killed()
    assert not world.wrong
    for bell, told in await world.outcomes():
        assert "it was not run" not in told or bell not in world.ran, f"{bell} ran; {told}"
        assert "Approved" in told or bell not in world.ran, f"{bell} ran; {told}"
    assert [what for what, query in LEFT.items() if await pool.fetchval(query)] == []
