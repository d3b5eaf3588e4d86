"""`memtrix-as register`: has the homeserver take our registration, and checks that it did."""

import argparse
import asyncio
import sys
from pathlib import Path

from rich.console import Console
from rich.prompt import Prompt

from memtrix_as import config
from memtrix_as.config import Service
from memtrix_as.errors import ConfigError
from memtrix_as.matrix import admin_room, registration
from memtrix_as.matrix.account import Account
from memtrix_as.matrix.admin_room import Said
from memtrix_as.matrix.probe import Probe
from memtrix_as.terminal.asking import interruptible

FILE = Path("registration.yaml")
CACHES = "If people do not find a new name, send `@conduit:{}: clear-database-caches 7` there too."


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--user", help="an administrator; `conduit` with the emergency password; else it is asked"
    )
    parser.add_argument(
        "--password-from", metavar="SOURCE",
        help="a file, or '$NAME' of a secret; else the password is asked",
    )  # fmt: skip
    parser.add_argument(
        "--create", action="store_true",
        help="make this account: the first one of a new homeserver is its administrator",
    )  # fmt: skip
    parser.add_argument(
        "--token-from", metavar="SOURCE",
        help="for --create: a file or '$NAME' with the homeserver's registration token",
    )  # fmt: skip
    parser.add_argument("--check", action="store_true", help="only look whether it is registered")
    parser.add_argument(
        "--timeout", type=float, default=30.0, help="seconds to wait for the homeserver's reply"
    )


def main(options: argparse.Namespace) -> int:
    """Returns the exit status. With -g, or a file named, that is written and nothing else done."""
    if options.generate or options.registration:
        made = registration.generate(
            options.config, options.registration or FILE, options.new_tokens
        )
        print(f"Wrote {made.path}. Give it to the homeserver, then run")
        print(f"    memtrix-as -c {options.config}")
        return 0
    console = Console(highlight=False, soft_wrap=True)
    with interruptible():
        return asyncio.run(Registering(options, console).run())


class Registering:
    """One run of the command."""

    def __init__(
        self, options: argparse.Namespace, console: Console, password: str = "", token: str = ""
    ) -> None:
        """`password` and `token` are there when somebody has asked for them already."""
        self._options = options
        self._console = console
        self._password, self._token = password, token
        self._file: Path = options.registration or options.config.absolute().parent / FILE

    def _say(self, text: str) -> None:
        self._console.print(config.redact(text), markup=False)

    async def run(self) -> int:
        path: Path = self._options.config
        if not self._options.check:
            made = registration.generate(path, self._file, self._options.new_tokens)
            self._say(f"Wrote {made.path}.")
        service = config.load_service(path)
        if service.fresh:
            raise ConfigError(f"{path} has no tokens yet; run this without --check.")
        async with Probe(service) as probe:
            before = await probe.known()
            if not self._options.check and not await self._register(service, before):
                return 1
            return await self._verify(service, probe)

    async def _register(self, service: Service, before: bool) -> bool:
        software = service.homeserver.software
        if software not in admin_room.COMMANDS:
            self._say(self._by_hand(service))
            if before:
                self._say("It knows an earlier one with the same token already.")
            return before
        account = self._account(service)
        async with account:
            if self._options.create:
                token = secret_from(self._options.token_from or "", self._options.config)
                await account.create(self._token or token)
                self._say(f"Made the account {account.user}.")
            else:
                await account.login()
            said = await admin_room.register(
                account, service.homeserver, registration.text(service), self._options.timeout
            )
        self._tell(service, said, before)
        return said.accepted

    def _tell(self, service: Service, said: Said, before: bool) -> None:
        if said.reply:
            self._say(f"The homeserver replied: {said.reply}")
        else:
            self._say(f"The homeserver did not reply within {self._options.timeout:g} s.")
        if not said.redacted:
            self._say("Our message could not be taken back: delete it, it holds the tokens.")
        if said.accepted and before:
            self._say("It had a registration with this token before; the new one replaces it.")
            if service.homeserver.software == "conduit":
                self._say(CACHES.format(service.homeserver.domain))
        elif not said.accepted:
            self._say("By hand: " + self._by_hand(service))

    def _by_hand(self, service: Service) -> str:
        return admin_room.by_hand(service.homeserver, service.appservice.id, self._file)

    async def _verify(self, service: Service, probe: Probe) -> int:
        address, id = service.appservice.address, service.appservice.id
        if not await probe.known():
            self._say(f"The homeserver does not know the registration {id}.")
            return 1
        if why := await probe.reaches_us():
            self._say(f"The homeserver knows {id}, but does not reach us at {address}: {why}.")
            self._say("Check appservice.address; a changed one has to be registered again.")
            return 1
        self._say(f"The homeserver knows {id}, and reaches us at {address}.")
        return 0

    # --- credentials ---------------------------------------------------------------------------

    def _account(self, service: Service) -> Account:
        user, source = self._options.user, self._options.password_from
        if user and self._password:
            return Account(service.homeserver.address, user, self._password)
        if not (user and source) and not sys.stdin.isatty():
            raise ConfigError("Without a terminal, give --user and --password-from.")
        user = user or Prompt.ask("Administrator of the homeserver", console=self._console)
        if source:
            password = secret_from(source, self._options.config)
        else:
            password = Prompt.ask(f"Password of {user}", console=self._console, password=True)
            if self._options.create and password != Prompt.ask(
                "Once more", console=self._console, password=True
            ):
                raise ConfigError("The two passwords differ; nothing was done.")
        if not password:
            raise ConfigError("The password is empty; nothing was done.")
        config.redact.learn(password)
        return Account(service.homeserver.address, user, password)


def secret_from(source: str, config_path: Path) -> str:
    """What a file holds, or a secret of that `$name`; empty without a source."""
    if not source:
        return ""
    if source.startswith("$"):
        return config.secret(source[1:], config_path)
    try:
        value = Path(source).read_text("utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{source} cannot be read: {getattr(exc, 'strerror', exc)}.") from exc
    config.redact.learn(value)
    return value
