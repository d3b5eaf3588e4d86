"""A signal ends the service also while something that it talks to hangs; turns are under way."""

import asyncio
import os
import signal

import pytest

from tests.faults import verdict
from tests.faults.outage import Talk
from tests.faults.storm import Plan, Storm
from tests.faults.town import Town
from tests.rig.waiting import until

ROOMS = 8
PATIENCE = 60.0  # seconds; whatever waits for a database or a server without an end takes longer


async def at_work(town: Town) -> list[Talk]:
    """The service, with a turn in each room at the model, which has not answered."""
    storm = Storm(town, Plan())
    town.homeserver.heard.append(storm._heard)
    await town.start()
    await town.ready()
    talks = [Talk(storm, n, await town.chat()) for n in range(ROOMS)]
    town.mind.latency = 10 * PATIENCE
    for each in talks:
        each.say()
    await until(lambda: len(town.mind.asked) == ROOMS, "all turns at the model", 60)
    return talks


@pytest.mark.parametrize(("line", "status"), [("database", 1), ("homeserver", 0), ("model", 0)])
async def test_a_signal_ends_it_while_a_part_hangs(town: Town, line: str, status: int) -> None:
    talks = await at_work(town)
    town.lines[line].freeze()
    os.kill(town.service.pid, signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        assert await town.service.ends() == status
    town.heal()
    town.mind.latency = 0.0
    await town.start()
    await town.ready()
    await asyncio.gather(*(each.ended() for each in talks))
    judged = await verdict.judge(town, talks[0].storm.said)
    assert not judged.wrong and judged.answered == ROOMS, f"{judged}"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(town: Town, signum: signal.Signals) -> None:
    await at_work(town)
    town.lines["database"].freeze()
    log = town.folder / "service.log"
    os.kill(town.service.pid, signum)
    await until(lambda: "Stopping" in log.read_text(), "the first to be heard", 30)
    os.kill(town.service.pid, signum)
    async with asyncio.timeout(PATIENCE):
        # Not with what it says of itself when its time is over.
        assert await town.service.ends() == -signum
