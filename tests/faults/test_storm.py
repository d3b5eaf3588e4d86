"""A short run of what `python -m tests.faults` does for hours."""

from tests.faults.storm import Plan, Storm
from tests.faults.town import Town


async def test_nothing_is_lost_while_processes_die_and_lines_break(town: Town) -> None:
    town.mind.latency = 0.3
    plan = Plan(messages=60, rooms=6, kill_every=1.0, cut_every=1.5, workers=1, pause=0.3)
    storm = Storm(town, plan)
    judged = await storm.run()
    assert not judged.wrong, f"{storm.figures}\n{judged}"
    assert judged.answered + sum(judged.errors.values()) == 60
    assert storm.kills, "nobody was killed: the run shows nothing"
