"""The command line."""

import argparse
import asyncio
import importlib
import inspect
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memtrix_as import __version__, config
from memtrix_as.errors import MemtrixError

# The module of each command, and what it does. It has `arguments`, which adds its options to a
# parser, and `main`, plain or async, which returns the exit status; it is loaded when its command
# is typed, since all of them together take seconds.
COMMANDS = {
    "run": ("memtrix_as.running", "run the service in the foreground (the default)"),
    "register": (
        "memtrix_as.terminal.registering",
        "register with the homeserver; with --file, only write what -g writes",
    ),
    "journal": ("memtrix_as.journal_files", "write journals into files, or read them in"),
    "doctor": ("memtrix_as.doctor.command", "find what is wrong, and tell how to mend it"),
    "backup": ("memtrix_as.backup.write", "write the whole mind into one file"),
    "restore": ("memtrix_as.backup.restore", "bring a backup into an empty installation"),
    "import": ("memtrix_as.original", "take over a Memtrix installation"),
    "chat": ("memtrix_as.terminal.command", "talk with the agent here, in the terminal"),
    "onboard": ("memtrix_as.terminal.onboarding", "the wizard: asks what there is to configure"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the arguments say; an expected error is one sentence and exit status 1."""
    try:
        config.clean_environment(sys.argv)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a file's name may be no text
                stream.reconfigure(errors="backslashreplace")
        options = _parser().parse_args(arguments)
        name = "register" if options.generate else options.command or "run"
        status = _module(name).main(options)
        sys.exit(asyncio.run(status) if inspect.iscoroutine(status) else status)
    except MemtrixError as exc:
        print(exc, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _module(name: str) -> Any:
    return importlib.import_module(COMMANDS[name][0])


class _Command(argparse.ArgumentParser):
    """A command's parser, which learns its options when it has something to parse."""

    of = ""  # the command's name, until then

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.of:
            name, self.of = self.of, ""
            _module(name).arguments(self)
        return super().parse_known_args(args, namespace)


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
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Command)
    for name, (_, does) in COMMANDS.items():
        command = commands.add_parser(name, help=does)
        command.of = name
        _config(command, again=True)
        if name == "register":
            _registration(command, again=True)
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


if __name__ == "__main__":
    main()
