"""One part is away for long, in the middle of conversations; and how soon work goes on after."""

import asyncio
import time
from dataclasses import dataclass

from tests.faults import talk, verdict
from tests.faults.storm import Plan, Storm
from tests.faults.town import HUMAN, Town
from tests.faults.verdict import Verdict
from tests.rig.waiting import until

SOON = 5.0  # seconds after the return in which work goes on


@dataclass(frozen=True)
class Outage:
    what: str
    seconds: float
    first: float  # seconds from the return to the first answer
    fresh: float  # seconds from a new message at the return to its answer
    memory: tuple[float, float]  # MB of the service before and at most
    verdict: Verdict

    @property
    def told(self) -> str:
        return (
            f"{self.what} away for {self.seconds:.0f} s: first answer {self.first:.1f} s after its"
            f" return, to a new message after {self.fresh:.1f} s; memory {self.memory[0]:.0f} MB"
            f" before, at most {self.memory[1]:.0f} MB\n{self.verdict}"
        )


async def run(town: Town, what: str, seconds: float, rooms: int = 20) -> Outage:
    """Messages are under way when it goes, and come meanwhile."""
    storm = Storm(town, Plan(rooms=rooms, workers=0))
    town.homeserver.heard.append(storm._heard)
    await town.start()
    await town.ready()
    talks = [Talk(storm, n, await town.chat()) for n in range(rooms)]
    quiet = Talk(storm, rooms, await town.chat())  # where nothing waits that was said meanwhile
    for each in (*talks, quiet):
        each.say()
    await asyncio.gather(*(each.ended() for each in (*talks, quiet)))
    town.mind.latency = 1.0
    for each in talks:  # their answers come when it is away
        each.say()
    await asyncio.sleep(0.2)
    before = peak = town.service.memory
    lines = [town.lines[n] for n in ([what, "pushes"] if what == "homeserver" else [what])]
    for line in lines:
        line.away()
    end, spoken = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        await asyncio.sleep(min(0.5, seconds / 20))
        if spoken < 10 * rooms:
            talks[spoken % rooms].say()
            spoken += 1
        assert town.service.alive, f"the service has ended:\n{town.text()[-3000:]}"
        peak = max(peak, town.service.memory)
    town.mind.latency = 0.0
    count = sum(map(len, storm._ended.values()))
    for line in lines:
        line.heal()
    back = time.monotonic()
    fresh = asyncio.create_task(quiet.freshly())
    await until(lambda: sum(map(len, storm._ended.values())) > count, "an answer", 60)
    first = time.monotonic() - back
    taken = await fresh
    await storm._settle()
    peak = max(peak, town.service.memory)
    return Outage(
        what, seconds, first, taken, (before, peak), await verdict.judge(town, storm.said)
    )


class Talk:
    """A room in an outage."""

    def __init__(self, storm: Storm, number: int, room: str) -> None:
        self.storm, self.number, self.room = storm, number, room
        storm.said.setdefault(room, [])
        storm._ended.setdefault(room, set())
        storm._news.setdefault(room, asyncio.Event())

    def say(self) -> None:
        token = f"r{self.number}m{len(self.storm.said[self.room])}"
        self.storm.said[self.room].append(token)
        town = self.storm.town
        town.homeserver.say(self.room, HUMAN, talk.message(token, town.seed))

    async def ended(self) -> None:
        await self.storm._all_ended(self.room, 60)

    async def freshly(self) -> float:
        """Seconds from now until a new message has its answer."""
        began = time.monotonic()
        self.say()
        await self.ended()
        return time.monotonic() - began
