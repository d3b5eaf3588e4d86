"""A part is away for some seconds; `python -m tests.faults outage` takes minutes."""

import pytest

from tests.faults import outage
from tests.faults.town import Town


@pytest.mark.parametrize("what", ["database", "homeserver"])
async def test_nothing_is_lost_while_a_part_is_away(town: Town, what: str) -> None:
    found = await outage.run(town, what, 5.0, rooms=3)
    assert not found.verdict.wrong, found.told
    assert not found.verdict.errors, "it is waited for, and nobody is told of trouble"
