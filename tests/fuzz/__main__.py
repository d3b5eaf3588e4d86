"""`python -m tests.fuzz --minutes 20`: the tests of this folder again and again, at random."""

import argparse
import os
import subprocess
import sys
import time

parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
parser.add_argument("--minutes", type=float, default=20.0, help="begin no round after that")
parser.add_argument("--times", type=int, default=10, help="so many times the examples of the suite")


def main() -> int:
    """Ends at the first failure, with pytest's code; what failed is shown as it can be repeated."""
    chosen = parser.parse_args()
    env = {**os.environ, "MEMTRIX_FUZZ_TIMES": str(max(2, chosen.times))}
    end, rounds = time.monotonic() + chosen.minutes * 60, 0
    while time.monotonic() < end:
        rounds += 1
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "tests/fuzz"]
        if code := subprocess.run(command, env=env).returncode:
            return code
        print(f"Round {rounds} found nothing; {max(0.0, end - time.monotonic()):.0f} s are left.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
