"""Many rooms at once: `python -m tests.benchmarks.load`; see docs/performance.md.

The service and its workers are processes of their own, with the embedded PostgreSQL and durable
settings. The model is a server that says after me. The homeserver is Synapse, or a fake of its
client API that costs next to nothing, so that it is not what is measured. Nothing is asserted.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.agents import make, name
from tests.benchmarks.figures import haste
from tests.benchmarks.load.report import report
from tests.benchmarks.load.talk import Outcome, load, quiet
from tests.benchmarks.load.town import Town, services, town
from tests.benchmarks.parts import ROOT
from tests.benchmarks.whole import least

WARM = 20  # messages before those that count


async def measure(o: argparse.Namespace) -> dict[str, list[Outcome]]:
    """Measure, tell, and return what was told of."""
    before, slower = os.getloadavg()[0], haste()
    print(f"{os.cpu_count()} processors, load {before:.1f}, {slower:.2f} times slower than at best")
    print(f"{o.rooms} rooms x {o.messages} messages, the model answers after {o.latency:g} s, "
          f"{o.workers} worker(s), homeserver: {o.homeserver}", flush=True)  # fmt: skip
    real = o.homeserver == "synapse"
    with tempfile.TemporaryDirectory(prefix="memtrix-load-") as folder:
        # PostgreSQL runs as another user when we are root, and must be let through.
        os.chmod(folder, 0o711)
        async with town(Path(folder), real, o.latency, o.pieces) as t:
            users = await _agents(t, o.agents)
            codes = [o.code.absolute(), *([o.beside.absolute()] if o.beside else [])]
            outcomes: dict[str, list[Outcome]] = {}
            for number in range(o.rounds):
                # What is there already slows those down who come later: they take turns in that.
                for code in codes[::-1] if number % 2 else codes:
                    subject = str(code) if len(codes) > 1 else "the service"
                    outcomes.setdefault(subject, []).append(await _ours(t, o, code, users))
                if real:
                    outcomes.setdefault("the least agent", []).append(await _least(t, o))
            print(f"\n{report(outcomes, o.statements)}", flush=True)
            return outcomes


async def _agents(t: Town, agents: int) -> list[str]:
    if agents > 1:
        await make(t, agents - 1, 0)  # type: ignore[arg-type]
    return [t.agent, *(f"@memtrix_{name(n).lower()}:hs.test" for n in range(agents - 1))]


async def _ours(t: Town, o: argparse.Namespace, code: Path, users: Sequence[str]) -> Outcome:
    """The service of a checkout, in rooms of its own."""
    rooms: list[str] = []
    async with services(t, o.workers, code, o.share) as running:
        while len(rooms) < o.rooms:
            some = [users[n % len(users)] for n in range(len(rooms), min(len(rooms) + 50, o.rooms))]
            rooms += await asyncio.gather(*map(t.side.room_with, some))
        t.model.latency = 0.0
        await load(t, t.side, rooms[: min(len(rooms), WARM)], 1, running)
        t.model.latency = o.latency
        if o.idle:
            used = await quiet(t, running, o.idle)
            told = ", ".join(f"{which} {spent:.2f} s" for which, spent in used.items())
            print(f"Idle, processor in a minute: {told}", flush=True)
        return await load(t, t.side, rooms, o.messages, running)


async def _least(t: Town, o: argparse.Namespace) -> Outcome:
    """The least agent that is possible, in as many rooms."""
    async with least(t) as user:  # type: ignore[arg-type]
        rooms = [await t.side.room_with(user) for _ in range(o.rooms)]
        return await load(t, t.side, rooms, o.messages, [])


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rooms", type=int, default=100)
    parser.add_argument("--messages", type=int, default=5, help="in each room, one after the other")
    parser.add_argument("--latency", type=float, default=2.0, help="of the model, seconds")
    parser.add_argument("--pieces", type=int, default=10, help="in which the model answers")
    parser.add_argument("--workers", type=int, default=1, help="processes that take turns")
    parser.add_argument("--share", type=float, default=1.0, help="of the time that each may run")
    parser.add_argument("--homeserver", choices=("fake", "synapse"), default="fake")
    parser.add_argument("--agents", type=int, default=1, help="among whom the rooms are divided")
    parser.add_argument("--idle", type=float, default=0, help="seconds of quiet before the load")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--statements", type=int, default=0, help="the dearest that are shown")
    parser.add_argument("--code", type=Path, default=ROOT, help="the checkout to measure")
    parser.add_argument("--beside", type=Path, help="another checkout, measured in turns")
    return parser


if __name__ == "__main__":
    asyncio.run(measure(arguments().parse_args()))
