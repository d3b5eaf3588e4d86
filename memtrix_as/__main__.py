"""The command line."""

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from memtrix_as import __version__, config, journal_files, original
from memtrix_as.app import App
from memtrix_as.backup import restore as restoring
from memtrix_as.backup import write as backing_up
from memtrix_as.doctor import command as doctor
from memtrix_as.errors import MemtrixError
from memtrix_as.matrix import registration
from memtrix_as.terminal import command as chatting
from memtrix_as.terminal import onboarding, registering
from memtrix_as.worker import Worker

# Each returns the exit status.
COMMANDS: dict[str, Callable[[argparse.Namespace], Coroutine[Any, Any, int]]] = {
    "journal": journal_files.main,
    "doctor": doctor.main,
    "backup": backing_up.main,
    "restore": restoring.main,
    "import": original.main,
    "chat": chatting.main,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the arguments say; an expected error is one sentence and exit status 1."""
    try:
        config.clean_environment(sys.argv)
        options = _parser().parse_args(arguments)
        if options.command in COMMANDS:
            sys.exit(asyncio.run(COMMANDS[options.command](options)))
        elif options.generate or (options.command == "register" and options.registration):
            _register(options)
        elif options.command == "register":
            sys.exit(registering.main(options))
        elif options.command == "onboard":
            sys.exit(onboarding.main(options))
        else:
            asyncio.run(_run(options))
    except MemtrixError as exc:
        print(exc, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="memtrix-as", description="A personal AI agent in Matrix, as an application service."
    )
    _config(parser)
    _registration(parser)
    parser.add_argument(
        "-g", "--generate", action="store_true",
        help="write the registration file, and tokens into the configuration; then exit",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"memtrix-as {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    run = commands.add_parser("run", help="run the service in the foreground (the default)")
    kind = run.add_mutually_exclusive_group()
    kind.add_argument(
        "--worker", action="store_true",
        help="work beside a service that runs on the same database, and take no transactions",
    )  # fmt: skip
    kind.add_argument("--no-turns", action="store_true", help="leave all turns to workers")
    run.add_argument(
        "--metrics-port", type=int, metavar="PORT", help="of a worker: its port for those who watch"
    )
    register = commands.add_parser(
        "register", help="register with the homeserver; with --file, only write what -g writes"
    )
    registering.arguments(register)
    journal = commands.add_parser("journal", help="write journals into files, or read them in")
    journal_files.arguments(journal)
    examine = commands.add_parser("doctor", help="find what is wrong, and tell how to mend it")
    doctor.arguments(examine)
    backup = commands.add_parser("backup", help="write the whole mind into one file")
    backing_up.arguments(backup)
    restore = commands.add_parser("restore", help="bring a backup into an empty installation")
    restoring.arguments(restore)
    bring_in = commands.add_parser("import", help="take over a Memtrix installation")
    original.arguments(bring_in)
    chat = commands.add_parser("chat", help="talk with the agent here, in the terminal")
    chatting.arguments(chat)
    onboard = commands.add_parser("onboard", help="the wizard: asks what there is to configure")
    onboarding.arguments(onboard)
    for each in (run, register, journal, examine, backup, restore, bring_in, chat, onboard):
        _config(each, again=True)
    _registration(register, again=True)
    return parser


# These may stand before the command and after it; silence there must not undo what was said here.


def _config(parser: argparse.ArgumentParser, again: bool = False) -> None:
    named = Path(config.environment("MEMTRIX_CONFIG") or "config.yaml")
    default = argparse.SUPPRESS if again else named
    parser.add_argument("-c", "--config", type=Path, default=default)


def _registration(parser: argparse.ArgumentParser, again: bool = False) -> None:
    default = argparse.SUPPRESS if again else None
    parser.add_argument("-r", "--registration", "--file", type=Path, default=default)
    parser.add_argument(
        "--new-tokens", action="store_true", default=argparse.SUPPRESS if again else False,
        help="with -g: make new tokens even if there are some",
    )  # fmt: skip


def _register(options: argparse.Namespace) -> None:
    path = options.registration or registering.FILE
    made = registration.generate(options.config, path, options.new_tokens)
    print(f"Wrote {made.path}. Give it to the homeserver, then run")
    print(f"    memtrix-as -c {options.config}")


async def _run(options: argparse.Namespace) -> None:
    settings = config.load(options.config)
    config.setup_logging(settings)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    turns = not getattr(options, "no_turns", False)
    app: App | Worker = App(settings, options.config, turns=turns)
    if getattr(options, "worker", False):
        app = Worker(settings, options.config, options.metrics_port)
    starting = asyncio.create_task(app.start())
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
        await app.stop()


def _collect_less() -> None:
    """What the start has made stays: to look through it for garbage again and again is in vain.

    Nearly all that a message makes goes without the collector, so that it may look ten times
    more seldom; that is a tenth of a message's processor time.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


if __name__ == "__main__":
    main()
