"""What many agents cost: `python -m tests.benchmarks.agents`; see docs/performance.md.

Makes them one after the other, as a human would have them made, and compares a service that has
them all with one that has a single one: start, memory, idle requests, and the time of a message.
"""

import argparse
import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from memtrix_as import config
from memtrix_as.app import App
from tests.benchmarks.figures import haste, ms, table
from tests.benchmarks.parts import Human, Parts, parts, service
from tests.benchmarks.relay import Asked, Statement
from tests.benchmarks.way import close, line
from tests.benchmarks.whole import ask
from tests.rig.settings import settings, write


@dataclass(frozen=True)
class Cost:
    """Figures of one service; seconds, MB and counts."""

    start: float
    rss: float
    rss_after: float  # after the messages
    cpu: float  # seconds of processor in the quiet time
    requests: int  # to the homeserver in it
    statements: int  # to the database in it


async def make(p: Parts, count: int, begin: int) -> list[float]:
    """Have agents made; the seconds of each."""
    values = settings(p.registration, p.homeserver.address, p.port, p.dsn, p.model.url)
    app = App(config.load(write(p.folder / "service" / "config.yaml", values)))
    await app.start()
    await app.ready.wait()
    assert app.people
    taken = []
    try:
        for number in range(begin, begin + count):
            began = time.monotonic()
            await app.people.create(name(number), "numbers of all kinds", by="@human:hs.test")
            taken.append(time.monotonic() - began)
    finally:
        await app.stop()
    return taken


def name(number: int) -> str:
    """A name of letters that looks like no other's."""
    first, second = divmod(number, 20)
    return (
        f"{'BDFGHKLMNPRSTVWXYZ'[first % 18]}{'aeou'[first // 18]}b{'bdfghkmnprstvwxyzaeo'[second]}u"
    )


async def cost(p: Parts, human: Human, rooms: list[str], quiet: float, messages: int) -> Cost:
    """Start the service, leave it alone for a while, then talk in turns in these rooms."""
    made = await line(p, with_database=True)
    try:
        async with service(
            p, port=made.port, homeserver=made.homeserver, database=made.database
        ) as s:
            await settled(made.called)
            rss = s.rss
            made.forget()
            ran = s.cpu
            await asyncio.sleep(quiet)
            idle, asked = s.cpu - ran, [a for a in made.called if "/messages" not in a.line]
            statements: list[Statement] = list(made.statements)
            times: dict[str, list[float]] = {room: [] for room in rooms}
            for _ in range(messages):
                for room in rooms:
                    times[room].append(await ask(human, room))
            for number, room in enumerate(rooms):
                print(f"  room {number + 1}: {ms(times[room])} ms, p50 / p95")
            return Cost(s.started_in, rss, s.rss, idle, len(asked), len(statements))
    finally:
        await close(made)


async def settled(called: list[Asked]) -> None:
    """Wait until the service has asked the homeserver nothing for five seconds."""
    before, since = -1, time.monotonic()
    while time.monotonic() - since < 5:
        if len(called) != before:
            before, since = len(called), time.monotonic()
        await asyncio.sleep(0.1)


async def measure(options: argparse.Namespace) -> None:
    load, slower = os.getloadavg()[0], haste()
    print(f"{os.cpu_count()} processors, load {load:.1f}, {slower:.2f} times slower than at best")
    with tempfile.TemporaryDirectory(prefix="memtrix-bench-") as folder:
        os.chmod(folder, 0o711)
        async with parts(Path(folder)) as p:
            human = await p.human("human")
            await make(p, 1, 0)
            users = [f"@memtrix_{name(n).lower()}:hs.test" for n in (0, options.agents - 1)]
            async with service(p):
                rooms = [await human.room_with(users[0])]
            print("with one agent")
            one = await cost(p, human, rooms, options.quiet, options.messages)
            taken = await make(p, options.agents - 1, 1)
            print(f"{len(taken)} agents made in {sum(taken):.1f} s: {ms(taken)} ms each, p50 / p95")
            print(f"the first fifty took {median(taken[:50]) * 1000:.0f} ms each, "
                  f"the last fifty {median(taken[-50:]) * 1000:.0f}")  # fmt: skip
            async with service(p):
                rooms.append(await human.room_with(users[1]))
            print(f"with {options.agents} agents, in the rooms of the first and the last")
            many = await cost(p, human, rooms, options.quiet, options.messages)
            head = ("", "one agent", f"{options.agents} agents")
            rows = [
                ("ready after, s", f"{one.start:.2f}", f"{many.start:.2f}"),
                ("resident, MB", f"{one.rss:.1f}", f"{many.rss:.1f}"),
                ("resident after messages, MB", f"{one.rss_after:.1f}", f"{many.rss_after:.1f}"),
                (f"processor in {options.quiet:g} s of quiet, s", f"{one.cpu:.3f}",
                 f"{many.cpu:.3f}"),
                ("requests to the homeserver in it", str(one.requests), str(many.requests)),
                ("statements in it", str(one.statements), str(many.statements)),
            ]  # fmt: skip
            print("\n" + table(head, rows))
            human.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--quiet", type=float, default=30.0, help="seconds")
    parser.add_argument("--messages", type=int, default=30, help="in each room")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
