"""Conversations in many rooms, while processes die and lines break at random, by a seed."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tests.faults import full, talk, verdict
from tests.faults.town import AGENT, HUMAN, Town
from tests.faults.verdict import Verdict

PATIENCE = 120.0  # seconds for the last answers, once nothing breaks any more


@dataclass(frozen=True)
class Plan:
    """How much is said, and how often what breaks; seconds are means."""

    messages: int = 200
    rooms: int = 10
    kill_every: float = 5.0
    cut_every: float = 7.0
    workers: int = 1
    pause: float = 0.5  # between a room's last answer and what is said next
    burst: int = 3  # messages at most that are said without waiting
    fill_every: float = 0.0  # the workspace is full for a moment; 0: never, and no files are made
    seconds: float = 0.0  # after which nothing more is said; 0: until all is said


@dataclass
class Storm:
    """One run; `said` is what was said in each room, in order."""

    town: Town
    plan: Plan
    said: dict[str, list[str]] = field(default_factory=dict)
    kills: int = 0
    cuts: int = 0
    fills: int = 0
    fallen: int = 0  # processes that ended by themselves
    memory: list[float] = field(default_factory=list)
    _ended: dict[str, set[str]] = field(default_factory=dict)  # events that end a message
    _news: dict[str, asyncio.Event] = field(default_factory=dict)
    _down: set[str] = field(default_factory=set)  # killed, and on its way back
    _over: bool = False

    @property
    def names(self) -> list[str]:
        return ["service", *(f"worker{n}" for n in range(self.plan.workers))]

    async def run(self) -> Verdict:
        """Everything, up to the verdict."""
        town, plan = self.town, self.plan
        town.homeserver.heard.append(self._heard)
        if plan.fill_every:
            town.set("limits", "workspace_size", full.LIMIT)
        await town.start()
        await town.ready()
        for name in self.names[1:]:
            await town.start(name)
        rooms = [await town.chat() for _ in range(plan.rooms)]
        share = [plan.messages // plan.rooms + (n < plan.messages % plan.rooms)
                 for n in range(plan.rooms)]  # fmt: skip
        faults = [asyncio.create_task(work) for work in self._faults()]
        talks = [
            asyncio.create_task(self._talk(n, room, count))
            for n, (room, count) in enumerate(zip(rooms, share, strict=True))
        ]
        try:
            await asyncio.gather(*talks)
        finally:
            self._over = True
            await asyncio.gather(*faults)
        town.heal()
        await self._settle()
        judged = await verdict.judge(town, self.said)
        if plan.fill_every:
            full.files(town, judged, processes=len(self.names), kills=self.kills + self.fallen)
        return judged

    def _faults(self) -> Sequence[Awaitable[None]]:
        plan = self.plan
        works = [self._watch()]
        for every, work in ((plan.kill_every, self._kill), (plan.cut_every, self._cut),
                            (plan.fill_every, self._fill)):  # fmt: skip
            if every:
                works.append(self._now_and_then(every, work))
        return works

    async def _now_and_then(
        self, every: float, work: Callable[[random.Random], Awaitable[None]]
    ) -> None:
        chance, due = random.Random(f"{self.town.seed} {work.__name__}"), time.monotonic()
        due += chance.expovariate(1 / every)
        while not self._over:
            if time.monotonic() > due:
                await work(chance)
                due += chance.expovariate(1 / every)
            await asyncio.sleep(0.05)

    async def _kill(self, chance: random.Random) -> None:
        """kill -9 for one process, which comes back soon after."""
        name = chance.choice(self.names)
        if name in self._down:
            return
        self.town.note(f"kill {name}")
        self._down.add(name)
        await self.town.processes[name].kill()
        self.kills += 1
        await asyncio.sleep(chance.random() * 0.5)
        await self.town.start(name)
        self._down.discard(name)

    async def _cut(self, chance: random.Random) -> None:
        """One line breaks in one way, for a moment; or the homeserver forgets, or errs in time."""
        town = self.town
        what = chance.choice(["database", "homeserver", "pushes", "model", "forgets", "clock"])
        how = chance.choice(["reset", "away", "freeze", "slow"])
        seconds = chance.uniform(0.2, 2.0)
        town.note(f"{what} {how} {seconds:.1f}")
        self.cuts += 1
        if what == "forgets":
            town.homeserver.forget_transactions()
        elif what == "clock":
            town.homeserver.skew = chance.uniform(-3600, 3600)
        elif how == "reset":
            town.lines[what].reset()
        else:
            line = town.lines[what]
            {"away": line.away, "freeze": line.freeze, "slow": lambda: line.slow(0.05)}[how]()
            await asyncio.sleep(seconds)
            line.heal()

    async def _fill(self, chance: random.Random) -> None:
        """Somebody fills the workspace to the brim, and makes room again."""
        seconds = chance.uniform(0.2, 2.0)
        self.town.note(f"full {seconds:.1f}")
        self.fills += 1
        await full.fill(self.town, seconds)

    async def _watch(self) -> None:
        """A process that ends by itself is started again, as an init system would."""
        beat = 0
        while not self._over:
            for name in self.names:
                if name not in self._down and not self.town.processes[name].alive:
                    self.town.note(f"{name} has ended by itself")
                    self._down.add(name)
                    self.fallen += 1
                    await asyncio.sleep(0.5)
                    await self.town.start(name)
                    self._down.discard(name)
            if beat % 40 == 0 and self.town.service.alive:
                self.memory.append(self.town.service.memory)
            beat += 1
            await asyncio.sleep(0.25)

    async def _talk(self, number: int, room: str, count: int) -> None:
        """A human says things, up to a few at once, and waits for what comes of them."""
        chance = random.Random(f"{self.town.seed} room {number}")
        self.said[room], self._ended[room], self._news[room] = [], set(), asyncio.Event()
        until = time.monotonic() + (self.plan.seconds or 10**9)
        while len(self.said[room]) < count and time.monotonic() < until:
            for _ in range(min(chance.randint(1, self.plan.burst), count - len(self.said[room]))):
                spoken = len(self.said[room])
                kind = "f" if self.plan.fill_every and spoken % 3 == 2 else "r"
                token = f"{kind}{number}m{spoken}"
                self.said[room].append(token)
                self.town.homeserver.say(room, HUMAN, talk.message(token, self.town.seed))
            await self._all_ended(room, PATIENCE)
            await asyncio.sleep(chance.expovariate(1 / self.plan.pause))

    async def _all_ended(self, room: str, patience: float) -> bool:
        until = time.monotonic() + patience
        while len(self._ended[room]) < len(self.said[room]):
            self._news[room].clear()
            try:
                await asyncio.wait_for(self._news[room].wait(), until - time.monotonic())
            except TimeoutError:
                self.town.note(f"{room} waits in vain")
                return False
        return True

    @property
    def figures(self) -> str:
        town = self.town
        again = sum(count - 1 - (talk.verb(token, town.seed) != "say")
                    for token, count in town.mind.asked.items() if count > 1)  # fmt: skip
        return (
            f"{sum(map(len, self.said.values()))} messages, {self.kills} kills, {self.cuts} cuts,"
            f" {self.fills} times full,"
            f" {self.fallen} processes that ended by themselves; the model was asked {again} times"
            f" more than without them, {town.homeserver.refused} pushes failed, and"
            f" {town.homeserver.repeated} events came a second time to the homeserver; memory of"
            f" the service up to {max(self.memory):.0f} MB"
        )

    async def _settle(self) -> None:
        until = time.monotonic() + PATIENCE
        for room in self.said:
            await self._all_ended(room, max(0.1, until - time.monotonic()))

    def _heard(self, room: str, event: dict) -> None:  # type: ignore[type-arg]
        """Count what looks like the end of a message; the verdict looks closer."""
        if event["sender"] != AGENT or event["type"] != "m.room.message" or room not in self._ended:
            return
        content = event["content"]
        latest = content.get("m.new_content", content)
        body, kind = str(latest.get("body", "")), latest.get("msgtype")
        if "io.memtrix.draft" in str(content) or "permission to run" in body:
            return
        if kind == "m.text" and (found := talk.ANSWER.search(body)):
            self._ended[room].add(found[1])
        elif kind == "m.notice" and "m.new_content" not in content:
            self._ended[room].add(event["event_id"])
        self._news[room].set()
