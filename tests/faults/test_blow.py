"""Turns whose process dies, or stands still for longer than it is waited for, end elsewhere."""

import pytest

from tests.faults import blow
from tests.faults.town import Town


@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_another_process_takes_the_turns(town: Town, how: str) -> None:
    struck = await blow.run(town, how)
    assert not struck.verdict.wrong, struck.told
    assert struck.taken, "it had no turn in its hands"
    assert struck.verdict.answered == 24
