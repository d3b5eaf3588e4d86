"""The load benchmark still runs: tiny, with a worker, at the homeserver that costs nothing."""

import argparse

import pytest

from tests.benchmarks.load.__main__ import arguments, measure


def options(*given: str) -> argparse.Namespace:
    return arguments().parse_args(
        ["--rooms", "3", "--messages", "2", "--latency", "0.05", "--statements", "3", *given]
    )


async def test_every_message_is_answered_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = await measure(options("--workers", "2", "--idle", "0.1"))
    [outcome] = outcomes["the service"]
    assert len(outcome.ways) == 6 and len(outcome.first) == 3
    for way in outcome.ways:
        assert way.taken and way.said < way.asked < way.told < way.seen
    assert set(outcome.cpu) == {"service", "worker 1", "database"}
    assert 1 < outcome.round_trips / len(outcome.ways) < 200
    assert len(outcome.memory) >= 6 and all(mb > 10 for mb in outcome.memory[-1].values())
    told = capsys.readouterr().out
    for wanted in (
        "3 rooms x 2 messages",
        "messages a second",
        "inside: waiting",
        "ms per message",
    ):
        assert wanted in told, told
