"""Lets processes run for a share of the time only: `python -m tests.benchmarks.load.share`.

So processors are the limit of what is measured, and not of the machine: two processes, each with
a third of one, leave room for the database, the model and the homeserver beside them.
"""

import contextlib
import os
import signal
import sys
import time

PERIOD = 0.04  # seconds


def keep(share: float, pids: list[int]) -> None:
    """Do so until we are killed, or they have ended: one after the other within each period.

    Were they to run at the same moments, the machine would be their limit again in these.
    """
    part = PERIOD / len(pids)
    run = min(share * PERIOD, part)
    while any([_turn(pid, run, part - run) for pid in pids]):
        pass


def _turn(pid: int, run: float, rest: float) -> bool:
    """Let it run, stop it and wait; whether it is there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
        time.sleep(run)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(rest)
        return True
    return False


def main() -> None:
    pids = [int(pid) for pid in sys.argv[2:]]

    def leave(*_: object) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)
    keep(float(sys.argv[1]), pids)


if __name__ == "__main__":
    main()
