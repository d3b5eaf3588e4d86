"""`memtrix-as run`: the service, or a worker beside it, until a signal ends it."""

import argparse
import asyncio
import gc
import logging
import os
import resource
import signal

from memtrix_as import config
from memtrix_as.app import App
from memtrix_as.worker import Worker

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Seconds in which all comes to a rest, also where a database or a server does not answer. To end
# without that is to crash: nothing is lost by it.
GRACE = 15.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--worker", action="store_true",
        help="work beside a service that runs on the same database, and take no transactions",
    )  # fmt: skip
    kind.add_argument("--no-turns", action="store_true", help="leave all turns to workers")
    parser.add_argument(
        "--metrics-port", type=int, metavar="PORT", help="of a worker: its port for those who watch"
    )


async def main(options: argparse.Namespace) -> int:
    """Run it; returns the exit status. The first SIGTERM or SIGINT ends it cleanly, the second at
    once.
    """
    settings = config.load(options.config)
    config.setup_logging(settings)
    open_many()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        log.info("Stopping; a second signal ends it at once")
        stopped.set()
        loop.call_later(GRACE, _break_off)
        for signum in SIGNALS:
            loop.remove_signal_handler(signum)
            signal.signal(signum, signal.SIG_DFL)

    for signum in SIGNALS:
        loop.add_signal_handler(signum, stop)
    process: App | Worker
    if getattr(options, "worker", False):  # the bare command has none of these options
        process = Worker(settings, options.config, options.metrics_port)
    else:
        turns = not getattr(options, "no_turns", False)
        process = App(settings, options.config, turns=turns)
    starting = asyncio.create_task(process.start())
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if starting.done():
            starting.result()
            _collect_less()
            await waiting
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await process.stop()
    return 0


def open_many() -> None:
    """Use all the files and connections that the system allows, which lets most have 1024 only.

    Each room that waits for its model takes one, and two while its answer is sent.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _break_off() -> None:
    log.warning("Not all has come to a rest within %.0f s; what has not goes on at the next start",
                GRACE)  # fmt: skip
    logging.shutdown()
    os._exit(1)


def _collect_less() -> None:
    """What the start has made stays: to look through it for garbage again and again is in vain.

    Nearly all that a message makes goes without the collector, so that it may look ten times
    more seldom; that is a tenth of a message's processor time.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
