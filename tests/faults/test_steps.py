"""Death at the steps of a turn; `python -m tests.faults steps` takes each of them."""

import pytest

from tests.faults.steps import Walk
from tests.faults.town import Town

EVERY = 9  # of so many steps one is taken here


@pytest.mark.parametrize(("verb", "first"), [("say", 5), ("ring", 2)])
async def test_a_turn_survives_death_at_its_steps(town: Town, verb: str, first: int) -> None:
    town.mind.latency = 0.0
    walk = Walk(town, verb)
    judged = await walk.run(lambda step: step % EVERY == first)
    assert not judged.wrong, f"{judged}"
    assert len(walk.died) >= 4, f"it died at {walk.died} only"
