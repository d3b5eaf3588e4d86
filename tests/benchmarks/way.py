"""What a message costs on its way through the service: its own time, and who is asked what."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from memtrix_as.local.ports import free_port
from tests.benchmarks.figures import ms, percentile, table
from tests.benchmarks.history import Room, fill
from tests.benchmarks.parts import AGENT, Human, Parts, Service, connection, service
from tests.benchmarks.relay import Asked, Relay, Statement, http_relay, sql_relay

AGED = 5000  # messages of the old room
BLOCKS = 4  # in which two checkouts take turns
REST = 0.12  # seconds between two messages: what follows an answer is over by then
_numbers = count(1)


@dataclass
class Line:
    """The pass-throughs around the service, and what they saw."""

    port: int  # where the service listens
    homeserver: int
    database: int
    pushed: list[Asked] = field(default_factory=list)  # by the homeserver
    called: list[Asked] = field(default_factory=list)  # by the service
    statements: list[Statement] = field(default_factory=list)
    relays: list[Relay] = field(default_factory=list)

    def forget(self) -> None:
        for seen in (self.pushed, self.called, self.statements):
            seen.clear()

    async def sent(self, text: str, timeout: float = 30.0) -> Asked:
        """The request that brings an answer with this text to the homeserver."""
        wanted = text.encode()
        async with asyncio.timeout(timeout):
            while True:
                for asked in self.called:
                    if wanted in asked.body and "/send/" in asked.line:
                        if b"io.memtrix.draft" not in asked.body:
                            return asked
                await asyncio.sleep(0.002)


async def line(p: Parts, with_database: bool) -> Line:
    """Put pass-throughs before the service's port and the homeserver, and the database if asked."""
    made = Line(free_port(), free_port(), 0)
    made.relays.append(http_relay(p.port, made.port, made.pushed))
    made.relays.append(http_relay(made.homeserver, p.homeserver.port, made.called))
    if with_database:
        made.database = free_port()
        target = urlsplit(p.dsn).port or 5432
        made.relays.append(sql_relay(made.database, target, made.statements))
    for relay in made.relays:
        await relay.start()
    return made


async def close(made: Line) -> None:
    for relay in made.relays:
        await relay.stop()


@dataclass(frozen=True)
class Own:
    """The service's own seconds on one message."""

    before: float  # transaction received -> request at the model
    after: float  # last token -> request to the homeserver
    cpu: float  # of the two together, and of what runs beside them

    @property
    def whole(self) -> float:
        return self.before + self.after


async def say(p: Parts, s: Service, made: Line, human: Human, room: str) -> Own:
    """Say something, wait for its answer."""
    text = f"message number {next(_numbers)}."
    ran = s.cpu
    await human.send(room, text)
    answer = await made.sent(f"You said: {text}")
    ran = s.cpu - ran
    pushed = next(a for a in made.pushed if text.encode() in a.body)
    asked, said = p.model.asked_at[text], p.model.said_at[text]
    await asyncio.sleep(REST)
    return Own(asked - pushed.handed_on, answer.arrived - said, ran)


async def rooms(p: Parts, human: Human, histories: Sequence[int]) -> list[Room]:
    """A room for each length of history, and an old one with the longest."""
    made = []
    async with connection(p.dsn) as db:
        for shown in histories:
            room = await human.room_with(p.agent)
            made.append(await fill(db, f"{shown} messages", room, AGENT, shown, shown))
        room = await human.room_with(p.agent)
        name = f"{histories[-1]} of {AGED}"
        made.append(await fill(db, name, room, AGENT, AGED, histories[-1]))
    return made


async def own_time(
    p: Parts, human: Human, histories: Sequence[int], messages: int, codes: Sequence[Path]
) -> str:
    """The service's own time, rooms taking turns; of several checkouts block by block."""
    made = await line(p, with_database=False)
    taken: dict[tuple[str, Path], list[Own]] = {}
    places: list[Room] = []
    memory: dict[Path, float] = {}
    cpu: dict[Path, list[float]] = {}
    blocks = 1 if len(codes) == 1 else BLOCKS
    try:
        for _ in range(blocks):
            for code in codes:
                async with service(p, port=made.port, homeserver=made.homeserver, code=code) as s:
                    places = places or await rooms(p, human, histories)
                    count = (messages // blocks + 3) * len(places)
                    used = s.cpu
                    for own, room in await _block(p, s, made, human, places, messages // blocks):
                        taken.setdefault((room.name, code), []).append(own)
                    cpu.setdefault(code, []).append((s.cpu - used) / count)
                    memory[code] = s.rss
    finally:
        await close(made)
    several = len(codes) > 1
    rows = [
        (name, *([str(code)] if several else []), *_columns(own))
        for (name, code), own in sorted(taken.items(), key=lambda one: one[0][0].rjust(20))
    ]
    head = (
        "history", *(["code"] if several else []),
        "transaction → model", "last token → homeserver", "own time", "of it processor",
    )  # fmt: skip
    return (
        "Own time per message, ms, p50 / p95\n\n" + table(head, rows)
        + "\n\nIts processor time per message, all that follows the answer included: "
        + ", ".join(f"{median(used) * 1000:.1f} ms" for used in cpu.values())
        + "\nResident afterwards: " + ", ".join(f"{m:.0f} MB" for m in memory.values())
    )  # fmt: skip


def _columns(own: Sequence[Own]) -> tuple[str, ...]:
    return (
        ms([o.before for o in own]),
        ms([o.after for o in own]),
        ms([o.whole for o in own]),
        ms([o.cpu for o in own]),
    )


async def _block(
    p: Parts, s: Service, made: Line, human: Human, places: Sequence[Room], messages: int
) -> list[tuple[Own, Room]]:
    taken = []
    async with connection(p.dsn) as db:
        for n in range(messages + 3):
            for room in places:
                await room.forget_the_rest(db)
                own = await say(p, s, made, human, room.room_id)
                if n >= 3:  # the first ones prepare statements and open connections
                    taken.append((own, room))
                made.forget()
    return taken


async def round_trips(p: Parts, human: Human, messages: int, code: Path) -> str:
    """Who is asked what for one message: PostgreSQL and the homeserver."""
    made = await line(p, with_database=True)
    seen: list[list[tuple[str, str]]] = []
    called: list[list[str]] = []
    try:
        ports = {"port": made.port, "homeserver": made.homeserver, "database": made.database}
        async with service(p, **ports, code=code) as s:
            room = await human.room_with(p.agent)
            for n in range(messages + 5):
                await asyncio.sleep(1.0)
                made.forget()
                await say(p, s, made, human, room)
                await asyncio.sleep(0.3)
                if n >= 5:
                    seen.append([(s.who, s.sql) for s in made.statements])
                    called.append([shape(a.line) for a in made.called])
            idle = await _idle(made)
    finally:
        await close(made)
    # A heartbeat may fall into a message: what most messages have is what a message costs.
    typical = sorted(seen, key=len)[len(seen) // 2]
    return _told(seen, typical, called) + f"\n\nWithout any message: {idle:.1f} a second"


async def _idle(made: Line) -> float:
    made.forget()
    began = time.monotonic()
    await asyncio.sleep(6.0)
    return len(made.statements) / (time.monotonic() - began)


def _told(
    seen: Sequence[Sequence[tuple[str, str]]],
    typical: Sequence[tuple[str, str]],
    called: Sequence[Sequence[str]],
) -> str:
    counts = {w: [sum(who == w for who, _ in one) for one in seen] for w in ("asyncpg", "psycopg")}
    rows = [(who, f"{median(c):.0f}", f"{percentile(c, 0.95)}") for who, c in counts.items()]
    every = [len(one) for one in seen]
    rows.append(("together", f"{median(every):.0f}", f"{percentile(every, 0.95)}"))
    requests = Counter(line for one in called for line in one)
    return "\n".join(
        [
            "Database round trips per message\n",
            table(("connections of", "p50", "p95"), rows),
            "\nOne message's statements in order:\n",
            *(f"  {n:2} {who:8} {sql[:110]}" for n, (who, sql) in enumerate(typical, 1)),
            "\nRequests to the homeserver per message:\n",
            *(f"  {n / len(called):.2f} {line}" for line, n in requests.most_common()),
        ]
    )


def shape(line: str) -> str:
    """A request without what is different in each: ids and transaction ids."""
    line = re.sub(r"[!$@][^/ ]+", "…", line.replace("/_matrix/client", ""))
    return re.sub(r"(/m\.room\.message/).*", r"\1…", line)
