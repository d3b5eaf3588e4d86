"""No room for files: by the quota in a storm, by a limit of the system for a single process."""

import asyncio

from tests.faults import full, talk, verdict
from tests.faults.doom import Doom
from tests.faults.storm import Plan, Storm
from tests.faults.town import HUMAN, Town
from tests.rig.waiting import eventually


async def test_a_full_workspace_costs_no_answer_and_no_file(town: Town) -> None:
    town.mind.latency = 0.3
    plan = Plan(messages=60, rooms=5, kill_every=3.0, cut_every=0, workers=1, pause=0.2,
                fill_every=1.0)  # fmt: skip
    storm = Storm(town, plan)
    judged = await storm.run()
    assert not judged.wrong, f"{storm.figures}\n{judged}"
    assert judged.answered + sum(judged.errors.values()) == 60
    assert full.refused(town), "it was never full when a file came: the run shows nothing"
    there = [*full.made(town.workspace), *full.made(town.folder / full.TAKEN)]
    assert there, "no file was made: the run shows nothing"


async def test_a_file_that_the_system_does_not_allow_is_told_and_others_go_on(town: Town) -> None:
    """The system cuts the writing in the middle, as a full disk does."""
    town.mind.latency = 0.0
    await town.start(doom=Doom(file_size=talk.SIZE * 3 // 4))
    await town.ready()
    one, other = await town.chat(), await town.chat()
    said = {one: ["f0m0", "f0m1", "r0m2"], other: ["r1m0", "r1m1"]}
    for room, tokens in said.items():
        for token in tokens:
            town.homeserver.say(room, HUMAN, talk.message(token, town.seed))

    async def all_told() -> bool:
        return len(town.mind.told) == 5

    await eventually(all_told, "all to be answered", 60)
    judged = await verdict.judge(town, said)
    full.files(town, judged, processes=1, kills=0)
    assert not judged.wrong, f"{judged}"
    assert judged.answered == 5 and town.service.alive
    for token in ("f0m0", "f0m1"):
        assert town.mind.told[token] == ["The file is larger than the system allows."]
    assert not await asyncio.to_thread(full.made, town.workspace)
