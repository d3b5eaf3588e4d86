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
AWAKE = 3.0  # seconds in which one that goes on could do harm


@dataclass(frozen=True)
class Blow:
    how: str
    taken: int  # turns that began anew in the other
    slowest: float  # seconds from the blow to the last answer, up to THINKS of them the model's
    verdict: Verdict

    @property
    def told(self) -> str:
        return (
            f"{self.how}: {self.taken} turns were taken over, the last answer came after"
            f" {self.slowest:.1f} s\n{self.verdict}"
        )


async def run(town: Town, how: str, rooms: int = 8) -> Blow:
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
    struck = time.monotonic()
    if how == "kill":
        await worker.kill()
    else:
        os.kill(worker.pid, signal.SIGSTOP)
    town.mind.latency = 0.0
    await asyncio.gather(*(each.ended() for each in talks))
    slowest = time.monotonic() - struck
    alone = sum(1 + (talk.verb(token, town.seed) != "say") for token in town.mind.asked)
    taken = town.mind.asked.total() - alone  # each asked once more, from the start
    if how == "freeze":
        os.kill(worker.pid, signal.SIGCONT)
        await asyncio.sleep(AWAKE)
    for each in talks:
        each.say()
    await asyncio.gather(*(each.ended() for each in talks))
    return Blow(how, taken, slowest, await verdict.judge(town, storm.said))
