"""The whole way of a message, beside the least agent that is possible; start-up and memory."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from statistics import median

from memtrix_as.local.child import environment, spawn
from tests.benchmarks.figures import ms, table
from tests.benchmarks.parts import ROOT, Human, Parts, service

REST = 0.15  # seconds between two messages: what follows an answer is over by then
_numbers = count(1)


@dataclass(frozen=True)
class Mode:
    """How the model and the service behave."""

    delay: float  # seconds before the model's first token
    streaming: bool

    def __str__(self) -> str:
        when = f"after {self.delay * 1000:.0f} ms" if self.delay else "at once"
        return f"model answers {when}, streaming {'on' if self.streaming else 'off'}"


@dataclass
class Pair:
    """Seconds from the human's send to the answer that he sees, through each of the two."""

    ours: list[float] = field(default_factory=list)
    least: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return median(self.ours) / median(self.least)


@asynccontextmanager
async def least(p: Parts) -> AsyncIterator[str]:
    """The least agent, in a process of its own; its user id."""
    user, token = await p.homeserver.account(p.http, f"least{next(_numbers)}")
    child = await spawn(
        [sys.executable, "-m", "tests.benchmarks.least", p.homeserver.address, token, p.model.url],
        cwd=ROOT, env=environment() | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        yield user
    finally:
        await child.stop()


async def ask(human: Human, room: str) -> float:
    """Say something; seconds until the answer is seen."""
    text = f"whole way {next(_numbers)}."
    began = time.monotonic()
    await human.send(room, text)
    seen = await human.sees(f"You said: {text}")
    await asyncio.sleep(REST)
    return seen - began


async def whole_way(p: Parts, human: Human, messages: int, modes: list[Mode]) -> str:
    """Both agents with the same human, homeserver and model, taking turns message by message."""
    pairs: dict[Mode, Pair] = {mode: Pair() for mode in modes}
    async with least(p) as other:
        theirs = await human.room_with(other)
        for streaming in sorted({mode.streaming for mode in modes}):
            async with service(p, streaming=streaming):
                ours = await human.room_with(p.agent)
                for mode in [m for m in modes if m.streaming == streaming]:
                    p.model.delay = mode.delay
                    await _take_turns(human, ours, theirs, pairs[mode], messages)
    p.model.delay = 0.0
    rows = [
        (str(mode), ms(pair.ours), ms(pair.least), f"{pair.ratio:.2f}")
        for mode, pair in pairs.items()
    ]
    head = ("the whole way, ms, p50 / p95", "the service", "the least agent", "ratio of medians")
    return table(head, rows)


async def _take_turns(human: Human, ours: str, theirs: str, pair: Pair, messages: int) -> None:
    for n in range(messages + 3):
        sides = [(ours, pair.ours), (theirs, pair.least)]
        for room, taken in sides if n % 2 else sides[::-1]:
            seconds = await ask(human, room)
            if n >= 3:
                taken.append(seconds)


async def start_up(p: Parts, human: Human, rounds: int, messages: int) -> str:
    """Process start to ready, with the database up; resident memory then, and after work."""
    starts, fresh, used = [], [], []
    for _ in range(rounds):
        async with service(p) as running:
            starts.append(running.started_in)
            used.append(running.cpu)
            await asyncio.sleep(1.0)
            fresh.append(running.rss)
    async with service(p) as running:
        room = await human.room_with(p.agent)
        for n in range(messages):
            await human.send(room, f"memory {n}.")
            await human.sees(f"You said: memory {n}.")
        worked = running.rss
    rows = [
        ("ready after", f"{median(starts):.2f} s (worst of {rounds}: {max(starts):.2f} s)"),
        ("processor time until then", f"{median(used):.2f} s"),
        ("resident after start", f"{median(fresh):.0f} MB"),
        (f"resident after {messages} messages", f"{worked:.0f} MB"),
    ]
    return table(("start", "measured"), rows)
