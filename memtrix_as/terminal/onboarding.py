"""`memtrix-as onboard`: the wizard. Asks, tries out, shows, and writes everything at the end."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from memtrix_as import config
from memtrix_as.errors import ConfigError, MemtrixError
from memtrix_as.terminal import models, people, spending, surroundings
from memtrix_as.terminal.asking import Answers, Asker, Terminal, interruptible
from memtrix_as.terminal.draft import Draft
from memtrix_as.terminal.wizard import Wizard

Step = Callable[[Wizard], Awaitable[None]]

STEPS: dict[str, tuple[str, Step]] = {
    "agent": ("The agent", people.agent),
    "providers": ("Where language models run", models.providers),
    "models": ("Models", models.models),
    "budgets": ("What may be spent in a day", spending.budgets),
    "homeserver": ("Where you talk to it", people.homeserver),
    "people": ("People", people.people),
    "search": ("Web search", surroundings.search),
    "embeddings": ("Memory by meaning", surroundings.embeddings),
    "timezone": ("Time zone", surroundings.timezone),
}
REGISTER = "registration"
# what has to stand in the file already where a step is left out
NEEDED = {
    "agent": "main_agent",
    "providers": "providers",
    "models": "models",
    "homeserver": "homeserver",
    "people": "permissions",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--answers", type=Path, metavar="FILE",
        help="a YAML file with the answers, for a run without a person (docs/onboarding.md)",
    )  # fmt: skip
    parser.add_argument(
        "--skip", action="append", default=[], choices=[*STEPS, REGISTER], metavar="STEP",
        help=f"leave a step out, and what it asks as it is: {', '.join([*STEPS, REGISTER])}",
    )  # fmt: skip
    parser.add_argument(
        "--no-tests", action="store_true", help="do not try out providers, models and search"
    )
    parser.add_argument(
        "--compose", action="store_true", help="for docker-compose.yml: its services are known"
    )


def main(options: argparse.Namespace) -> int:
    """Returns the exit status."""
    console = Console(highlight=False, soft_wrap=True)
    asker: Asker
    if options.answers:
        asker = Answers(options.answers, console)
    elif sys.stdin.isatty():
        asker = Terminal(console)
    else:
        raise ConfigError("The wizard needs a terminal, or --answers FILE.")
    try:
        with interruptible():
            return asyncio.run(_Run(options, console, asker).run())
    except (KeyboardInterrupt, EOFError):
        console.print("\nStopped; what was not told as written is not written.")
        return 130


class _Run:
    def __init__(self, options: argparse.Namespace, console: Console, asker: Asker) -> None:
        self._options, self._console, self._asker = options, console, asker
        draft = Draft(options.config)
        self._wizard = Wizard(asker, draft, options.compose, not options.no_tests)

    async def run(self) -> int:
        try:
            return await self._run()
        except (TypeError, ValueError, LookupError, AttributeError):
            # Steps take what the file holds for settings; what is wrong with it, this tells.
            if not self._wizard.draft.new:
                config.load(self._options.config)
            raise

    async def _run(self) -> int:
        wizard, draft = self._wizard, self._wizard.draft
        if not draft.new:
            self._asker.say(f"{draft.path} is there: what you only confirm stays as it is.")
        if wizard.compose:
            surroundings.composed(wizard)
        self._check_skipped()
        for name, (title, step) in STEPS.items():
            if name not in self._options.skip:
                self._console.rule(title, align="left")
                await step(wizard)
        register = REGISTER not in self._options.skip and wizard.matrix
        if register:
            self._console.rule("Registration", align="left")
            people.plan(wizard)
        if isinstance(self._asker, Answers) and (strange := self._strange(self._asker)):
            raise ConfigError(f"{self._options.answers}: no question is: {', '.join(strange)}.")
        self._show()
        if not self._asker.yes(("write",), "Write all this?", True):
            self._asker.say("Nothing was written.")
            return 1
        draft.write()
        self._wrote()
        status = 0
        if register:
            status = await self._register()
        self._end()
        return status

    def _check_skipped(self) -> None:
        draft = self._wizard.draft
        for left_out in self._options.skip:
            section = NEEDED.get(left_out)
            if section and not draft.get(section):
                raise ConfigError(
                    f"--skip {left_out}: {draft.path} has no `{section}` yet, so it must be asked."
                )

    def _strange(self, answers: Answers) -> list[str]:
        skipped = {
            "homeserver": ("homeserver", "channel", "appservice"),
            "people": ("user", "others"),
            "providers": ("providers", "provider_directories"),
            "models": ("models", "model"),
        }
        names = {n for step in self._options.skip for n in skipped.get(step, (step,))}
        names.add("write")  # asked only after this
        names |= (
            {"channel", "homeserver", "appservice", "database"} if self._wizard.compose else set()
        )
        return [key for key in answers.left_over() if key.split(".")[0] not in names]

    def _show(self) -> None:
        draft = self._wizard.draft
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        domain = draft.get("homeserver", "domain")
        rows = {
            "Agent": f"{draft.get('main_agent', 'name')}, "
            f"@{draft.get('appservice', 'bot_username', default='memtrix')}:{domain}",
            "Providers": ", ".join(
                f"{name} ({section['type']})" for name, section in draft.get("providers").items()
            ),
            "Models": ", ".join(draft.get("models")),
            "It uses": draft.get("main_agent", "model"),
            "Homeserver": f"{draft.get('homeserver', 'address')} "
            f"({draft.get('homeserver', 'software', default='conduit')})",
            "In a day": spending.told(draft.get("budgets", default={})),
            "People": ", ".join(f"{w}: {r}" for w, r in draft.get("permissions").items()),
            "Web search": draft.get("search", "searxng_url") or "none",
            "Embeddings": draft.get("embeddings", "model") or "as by default",
            "Time zone": draft.get("timezone", default="UTC"),
            "Secrets": ", ".join(draft.secrets) or "none that are new",
        }
        for name, text in rows.items():
            table.add_row(name, config.redact(str(text)))
        self._console.print(Panel(table, title="What will be written", border_style="green"))

    def _wrote(self) -> None:
        draft = self._wizard.draft
        self._asker.say(f"Wrote {draft.path} and registration.yaml beside it.")
        for name in draft.secrets:
            self._asker.say(f"Wrote {draft.path.parent / config.SECRETS / name}.")

    async def _register(self) -> int:
        try:
            return await people.register(self._wizard, self._console)
        except MemtrixError as exc:
            self._asker.say(str(exc), "red")
            self._asker.say("All else is written; `memtrix-as register` tries this again.")
            return 1

    def _end(self) -> None:
        wizard = self._wizard
        if wizard.made_password:
            self._asker.say(f"Your password on the homeserver: {wizard.made_password}", "bold")
            self._asker.say("It is shown only now, and kept nowhere.")
        if wizard.compose:
            self._asker.say("Next: docker compose up -d")
        elif wizard.matrix:
            self._asker.say(f"Next: memtrix-as -c {wizard.draft.path}")
        else:
            self._asker.say(f"Next: memtrix-as chat -c {wizard.draft.path}")
