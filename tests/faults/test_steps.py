"""Death at the steps of a turn; `python -m tests.faults steps` takes each of them."""

import pytest

from tests.faults.steps import Walk
from tests.faults.town import Town


# Of so many steps one is taken here; a `ring` has four times as many as a `say`.
@pytest.mark.parametrize(("verb", "every", "first"), [("say", 9, 5), ("ring", 25, 2)])
async def test_a_turn_survives_death_at_its_steps(
    town: Town, verb: str, every: int, first: int
) -> None:
    town.mind.latency = 0.0
    walk = Walk(town, verb)
    judged = await walk.run(lambda step: step % every == first)
    assert not judged.wrong, f"{judged}"
    assert len(walk.died) >= 4, f"it died at {walk.died} only"
