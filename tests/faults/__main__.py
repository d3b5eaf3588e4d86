"""Runs with faults, as long as you like:

python -m tests.faults --seed 1 --messages 10000 --kill-every 5 --workers 1
python -m tests.faults steps --seed 1
python -m tests.faults outage --what database --seconds 180
python -m tests.faults kill
python -m tests.faults freeze
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import blow, outage
from tests.faults.steps import Walk
from tests.faults.storm import Plan, Storm
from tests.faults.town import town
from tests.rig.database import Database


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=["storm", "outage", "steps", "kill", "freeze"], default="storm"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--rooms", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--kill-every", type=float, default=5.0, metavar="S", help="0: never")
    parser.add_argument("--cut-every", type=float, default=7.0, metavar="S", help="0: never")
    parser.add_argument("--fill-every", type=float, default=0.0, metavar="S")
    parser.add_argument("--pause", type=float, default=1.0, metavar="S", help="between messages")
    parser.add_argument("--latency", type=float, default=1.0, metavar="S", help="of the model")
    parser.add_argument("--what", dest="line", choices=["database", "homeserver", "model"],
                        default="database", help="of an outage")  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="of an outage; of a storm, if it is to end early"
    )
    parser.add_argument("--homeserver", choices=("fake", "synapse"), default="fake")
    parser.add_argument("--folder", type=Path, help="where to work and leave the logs")
    options = parser.parse_args()
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
        sys.exit(asyncio.run(_run(options, options.folder)))
    with tempfile.TemporaryDirectory(prefix="faults") as folder:
        sys.exit(asyncio.run(_run(options, Path(folder))))


async def _run(options: argparse.Namespace, folder: Path) -> int:
    print(f"seed {options.seed}", flush=True)
    database = Database(folder / "postgres")
    await database.start()
    try:
        await database.migrate(folder)
        async with town(
            folder, database, options.seed, real=options.homeserver == "synapse"
        ) as made:
            if options.what == "outage":
                found = await outage.run(
                    made, options.line, options.seconds or 180.0, options.rooms
                )
                print(found.told)
                return bool(found.verdict.wrong)
            if options.what in ("kill", "freeze"):
                struck = await blow.run(made, options.what, options.rooms)
                print(struck.told)
                return bool(struck.verdict.wrong)
            if options.what == "steps":
                wrong = False
                for verb in ("say", "mark", "ring"):
                    walk = Walk(made, verb)
                    judged = await walk.run()
                    print(f"{verb}: died at {len(walk.died)} steps\n{judged}", flush=True)
                    wrong |= bool(judged.wrong)
                return wrong
            plan = Plan(options.messages, options.rooms, options.kill_every, options.cut_every,
                        options.workers, options.pause, fill_every=options.fill_every,
                        seconds=options.seconds)  # fmt: skip
            made.mind.latency = options.latency
            storm, began = Storm(made, plan), time.monotonic()
            telling = asyncio.create_task(_tell(storm, began))
            try:
                judged = await storm.run()
            finally:
                telling.cancel()
                (folder / "faults.txt").write_text("\n".join(made.log))
            seconds = time.monotonic() - began
            print(f"{seconds:.0f} s: {storm.figures}")
            print(judged)
            return bool(judged.wrong)
    finally:
        await database.stop()


async def _tell(storm: Storm, began: float) -> None:
    while True:
        await asyncio.sleep(30)
        said = sum(map(len, storm.said.values()))
        print(f"  {time.monotonic() - began:.0f} s: {said} said, {storm.kills} kills", flush=True)


if __name__ == "__main__":
    main()
