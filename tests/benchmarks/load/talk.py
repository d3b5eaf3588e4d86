"""The load itself: every room says its messages one after the other, all rooms at once."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from tests.benchmarks.load.town import Process, Side, Town
from tests.benchmarks.parts import connection

_numbers = count(1)
PARTS = 10  # of all messages, after each of which memory is looked at
LOST = 600.0  # seconds after which a message counts as lost


@dataclass(frozen=True)
class Way:
    """When one message was where, on the monotonic clock."""

    said: float
    taken: float | None  # the service had acknowledged it
    asked: float  # it was at the model
    told: float  # the model's last byte
    seen: float  # the answer was at the homeserver, or in the human's /sync


@dataclass
class Outcome:
    """What a load has shown."""

    ways: list[Way] = field(default_factory=list)
    first: list[Way] = field(default_factory=list)  # the first message of each room
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)  # of each process, and the database
    memory: list[dict[str, float]] = field(default_factory=list)  # MB after each tenth part
    statements: list[tuple[str, int, float]] = field(default_factory=list)  # text, calls, ms
    inside: dict[str, str] = field(default_factory=dict)  # a process' figures in Prometheus' text

    @property
    def round_trips(self) -> int:
        return sum(calls for _, calls, _ in self.statements)


async def load(
    t: Town, side: Side, rooms: Sequence[str], messages: int, running: Sequence[Process]
) -> Outcome:
    """So many messages in each room; of `running` it is told what they have used."""
    outcome = Outcome()
    whole = len(rooms) * messages
    ran = {p.name: p.cpu for p in running}
    queried = t.database_cpu()
    async with connection(t.dsn) as db:
        await db.execute("select pg_stat_statements_reset()")

    async def talk(room: str) -> None:
        for number in range(messages):
            text = f"load {next(_numbers)}."
            said = time.monotonic()
            await side.say(room, text)
            async with asyncio.timeout(LOST):
                seen = await side.answered(text)
            asked, told = t.model.asked.pop(text), t.model.said.pop(text)
            way = Way(said, side.taken.pop(text, None), asked, told, seen)
            outcome.ways.append(way)
            if not number:
                outcome.first.append(way)
            if len(outcome.ways) * PARTS // whole > len(outcome.memory):
                outcome.memory.append({p.name: p.rss for p in running})

    began = time.monotonic()
    await asyncio.gather(*map(talk, rooms))
    outcome.seconds = time.monotonic() - began
    await asyncio.sleep(1.0)  # what follows the last answers belongs to them too
    outcome.cpu = {p.name: p.cpu - ran[p.name] for p in running}
    outcome.cpu["database"] = t.database_cpu() - queried
    async with connection(t.dsn) as db:
        outcome.statements = [tuple(row) for row in await db.fetch(
            "select query, calls, total_exec_time from pg_stat_statements where toplevel"
            " and query !~ 'pg_stat_statements' order by total_exec_time desc"
        )]  # fmt: skip
    for process in running:
        async with t.http.get(f"{process.watched}/metrics") as answer:
            outcome.inside[process.name] = await answer.text()
    return outcome


async def quiet(t: Town, running: Sequence[Process], seconds: float) -> dict[str, float]:
    """What each of them uses in a minute in which nobody says anything."""
    await asyncio.sleep(10.0)
    ran, queried = {p.name: p.cpu for p in running}, t.database_cpu()
    await asyncio.sleep(seconds)
    used = {p.name: p.cpu - ran[p.name] for p in running}
    used["database"] = t.database_cpu() - queried
    return {name: spent * 60 / seconds for name, spent in used.items()}
