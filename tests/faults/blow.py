"""One of two processes is killed, or stands still, with turns in its hands; the other takes them.

One that stands still and goes on later believes that its turns are still its own: what it would
commit then must not count.
"""

import asyncio
import os
import signal
import time
from dataclasses import dataclass

from tests.faults import talk, verdict
from tests.faults.outage import Talk
from tests.faults.storm import Plan, Storm
from tests.faults.town import WORKS, Town
from tests.faults.verdict import Verdict
from tests.rig.settings import write
from tests.rig.waiting import until

THINKS = 4.0  # seconds at most that the model takes before the blow
ANSWERS = 1.0  # seconds at most for each piece of an answer, afterwards
AWAKE = 3.0  # seconds in which one that goes on could do harm


@dataclass(frozen=True)
class Blow:
    how: str
    taken: int  # turns that began anew in the other
    anew: float  # seconds from the blow to the first of these
    slowest: (
        float  # seconds from the blow to the last answer, up to three times ANSWERS the model's
    )
    verdict: Verdict

    @property
    def told(self) -> str:
        return (
            f"{self.how}: {self.taken} turns were taken over after {self.anew:.1f} s, the last"
            f" answer came after {self.slowest:.1f} s\n{self.verdict}"
        )


async def run(town: Town, how: str, rooms: int = 12) -> Blow:
    """`how` is kill or freeze."""
    storm = Storm(town, Plan(rooms=rooms, workers=1))
    town.homeserver.heard.append(storm._heard)
    town.mind.latency = THINKS
    town.settings.setdefault("limits", {})["concurrent_turns"] = rooms // 2  # half for each
    write(town.folder / "config.yaml", town.settings)
    await town.start()
    await town.ready()
    worker = await town.start("worker0")
    talks = [Talk(storm, n, await town.chat()) for n in range(rooms)]
    log = town.folder / "worker0.log"
    await until(lambda: WORKS in log.read_text(), "the worker", 30)
    for each in talks:
        each.say()
    await until(lambda: len(town.mind.asked) == rooms, "all turns at the model", 60)
    struck, town.mind.latency = time.monotonic(), ANSWERS
    if how == "kill":
        await worker.kill()
    else:
        os.kill(worker.pid, signal.SIGSTOP)
    await until(lambda: _again(town) > 0, "the other to take them", 60)
    anew = time.monotonic() - struck
    if how == "freeze":
        os.kill(worker.pid, signal.SIGCONT)  # both are at the same turns now
    town.mind.latency = 0.0
    await asyncio.gather(*(each.ended() for each in talks))
    slowest, taken = time.monotonic() - struck, _again(town)
    if how == "freeze":
        await asyncio.sleep(AWAKE)
    for each in talks:
        each.say()
    await asyncio.gather(*(each.ended() for each in talks))
    return Blow(how, taken, anew, slowest, await verdict.judge(town, storm.said))


def _again(town: Town) -> int:
    """How often the model was asked from the start for what it had been asked already."""
    asked, seed = town.mind.asked, town.seed
    return sum(max(0, n - 1 - (talk.verb(t, seed) != "say")) for t, n in asked.items())
