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
    """Do so until we are killed, or they have ended."""
    while pids:
        for signum, part in ((signal.SIGCONT, share), (signal.SIGSTOP, 1 - share)):
            for pid in list(pids):
                try:
                    os.kill(pid, signum)
                except ProcessLookupError:
                    pids.remove(pid)
            time.sleep(PERIOD * part)


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
