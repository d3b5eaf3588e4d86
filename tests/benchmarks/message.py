"""What a message costs: `python -m tests.benchmarks.message`; see docs/performance.md.

Everything is real but the model: PostgreSQL with durable settings, Synapse, the service as a
process of its own. Nothing is asserted here: on a shared machine a time says little by itself.
"""

import argparse
import asyncio
import os
import tempfile
from pathlib import Path

from tests.benchmarks.figures import haste
from tests.benchmarks.parts import ROOT, parts
from tests.benchmarks.way import own_time, round_trips
from tests.benchmarks.whole import Mode, start_up, whole_way

PARTS = ("own", "trips", "start", "whole")
MODES = [Mode(0.0, False), Mode(0.3, False), Mode(0.0, True), Mode(0.3, True)]


async def measure(options: argparse.Namespace) -> None:
    load, slower = os.getloadavg()[0], haste()
    print(f"{os.cpu_count()} processors, load {load:.1f}, {slower:.2f} times slower than at best")
    with tempfile.TemporaryDirectory(prefix="memtrix-bench-") as folder:
        # PostgreSQL runs as another user when we are root, and must be let through.
        os.chmod(folder, 0o711)
        async with parts(Path(folder)) as p:
            human = await p.human("human")
            histories = sorted({0, 50, options.history})
            codes = [options.code.absolute()]
            if options.beside:
                codes.append(options.beside.absolute())
            for part in options.parts:
                if part == "own":
                    told = await own_time(p, human, histories, options.messages, codes)
                elif part == "trips":
                    told = await round_trips(p, human, min(options.messages, 11), codes[-1])
                elif part == "start":
                    told = await start_up(p, human, options.rounds, 200)
                else:
                    told = await whole_way(p, human, options.messages, MODES)
                print(f"\n{told}", flush=True)
            human.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=60, help="per room, and per mode")
    parser.add_argument("--history", type=int, default=500, help="messages of the longest history")
    parser.add_argument("--rounds", type=int, default=5, help="starts")
    parser.add_argument("--code", type=Path, default=ROOT, help="the checkout to measure")
    parser.add_argument("--beside", type=Path, help="another checkout, measured in turns")
    parser.add_argument("parts", nargs="*", default=PARTS, help=f"of {', '.join(PARTS)}; else all")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
