"""Makes processes of the product by forking one that has imported it: each starts in a moment.

    python -m tests.faults.zygote

Takes a JSON object a line: the process's `arguments`, `cwd`, `log` and `doom`; answers `{"pid": …}`
at once and `{"ended": pid, "status": …}` when it has ended. The forked process runs the product's
own command line; nothing of it is replaced but what `doom` says (`doom.py`).
"""

import asyncio
import ctypes
import importlib
import json
import os
import pkgutil
import random
import select
import signal
import sys
from typing import Any

from memtrix_as import __main__ as product
from memtrix_as import providers, running, tools
from tests.faults.doom import Doom

PR_SET_PDEATHSIG = 1

# What the product loads when it is needed: with `running`, all that the service needs.
assert running
for package in (providers, tools):
    for found in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{found.name}")


def main() -> None:
    running: set[int] = set()
    buffer = b""
    while True:
        if select.select([0], [], [], 0.02)[0]:
            data = os.read(0, 1 << 16)
            if not data:
                break
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                pid = bear(json.loads(line))
                running.add(pid)
                tell(pid=pid)
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            running.discard(pid)
            tell(ended=pid, status=os.waitstatus_to_exitcode(status))
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def tell(**what: int) -> None:
    print(json.dumps(what), flush=True)


def bear(order: dict[str, Any]) -> int:
    parent = os.getpid()
    if pid := os.fork():
        return pid
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(order["cwd"])
    random.seed()
    status = 1
    try:
        Doom(**order["doom"]).begin()
        product.main(order["arguments"])
        status = 0
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    # What Python closes of a forked parent's loop would be the child's own.
    asyncio.set_event_loop(None)
    main()
