"""Whether something answers at a web address: for containers, which have no curl.

`python -m memtrix_as.local.healthy URL [SECONDS]` ends with 0 once it answers 200, with 1 if it
does not within the seconds.
"""

import sys
import time
from collections.abc import Sequence
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

# A proxy in the environment is for the internet, and not for what stands beside us.
OPEN = build_opener(ProxyHandler({})).open


def main(argv: Sequence[str]) -> int:
    url, patience = argv[0], float(argv[1]) if len(argv) > 1 else 0.0
    deadline = time.monotonic() + patience
    while True:
        why = _look(url)
        if not why:
            return 0
        if time.monotonic() >= deadline:
            print(f"{url}: {why}", file=sys.stderr)
            return 1
        time.sleep(0.5)


def _look(url: str) -> str:
    """Empty, or what is wrong."""
    try:
        with OPEN(url, timeout=5) as answer:
            return "" if answer.status == 200 else f"answered {answer.status}"
    except (URLError, OSError, ValueError) as exc:
        return str(exc)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
