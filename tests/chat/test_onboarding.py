"""`memtrix-as onboard`: by keys in a real terminal, by a file of answers; then it talks."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from memtrix_as import config
from memtrix_as.app import App
from memtrix_as.local.ports import free_port
from memtrix_as.settings import document
from memtrix_as.testing import ScriptedModel
from tests.rig.admin_room import TOKEN, NewConduit
from tests.rig.answers import Answers
from tests.rig.door import Door
from tests.rig.homeserver import PASSWORD, Homeserver
from tests.rig.keys import Keys
from tests.rig.modes import only
from tests.rig.stage import Stage
from tests.rig.waiting import PATIENCE

ROOT = Path(__file__).parents[2]
KEY = "sk-sesame-0123456789"

PROVIDER = '''
"""A cloud that somebody wrote a file for."""

from memtrix_as.providers.base import BaseProvider


class Cloud(BaseProvider):
    def __init__(self, access_token: str, region: str, tries: int = 3, loud: bool = False) -> None:
        super().__init__(name="cloud")
        if region == "nowhere":
            raise ValueError("there is no such region")
        self.region, self.tries = region, tries

    def completions(self, model, history, tools=None):
        return f"Hello from {self.region}, {self.tries} tries."
'''


@pytest.fixture
def answers(tmp_path: Path, model: ScriptedModel) -> Answers:
    return Answers(tmp_path, model)


@pytest.fixture
async def keys(tmp_path: Path) -> AsyncIterator[Keys]:
    keys = Keys(tmp_path, "onboard")
    yield keys
    keys.close()


# --- by keys -----------------------------------------------------------------------------------


async def answer_all(keys: Keys, model: ScriptedModel, address: str) -> None:
    model.says("Good day from the model.")
    await keys.type("What is your agent called? [Memtrix]", "admin", "Nora")
    await keys.type("user name on the homeserver [nora]", "No Ra", "")
    await keys.type("provider files of your own", "")
    await keys.type("Number or name [ollama]", "7", "openai_compatible")
    await keys.type("Your name for it [my-openai-compatible]", "a b", "box")
    await keys.type("base_url", "localhost", model.url)
    await keys.type("api_key (if it wants one)", KEY)
    await keys.type("Change anything else", "")
    await keys.sees("box answers, and has 1 models.")
    await keys.type("Set up another provider? (y/n) [n]", "perhaps", "")
    await keys.type("Number or name [box]", "")
    await keys.type("The model's name there", "wrong")
    await keys.type("Take it all the same?", "n")
    await keys.type("The model's name there [", "")
    await keys.type("Your name for it", "small")
    await keys.type("Tokens of context", "12", "4096")
    for question in ("think first", "see pictures", "call tools"):
        await keys.type(question, "")
    await keys.type("US dollars for a million tokens in, and out", "cheap", "0.1 0.5")
    await keys.sees("small: Good day from the model.")
    await keys.type("Set up another model?", "")
    await keys.type("Limit what may be spent in a day?", "y")
    await keys.type("US dollars at most, of all agents together", "lots", "2.5")
    for question in ("Tokens at most, of all", "US dollars at most, of each", "Tokens at most, of"):
        await keys.type(question, "")
    await keys.type("Number or name [matrix]", "1")
    await keys.type("Number or name [conduit]", "synapse")
    await keys.type("Its name, what follows the colon", "http://x", "hs.test")
    await keys.type("Its address", "http://127.0.0.1:9")
    await keys.type("Take it all the same?", "")
    await keys.type("Its address", address)
    await keys.type("The port on which we listen", "x", "29399")
    await keys.type("Our address", "")
    await keys.type("The interface", "")
    await keys.type("The database", "mysql://x", "")
    await keys.type("Your Matrix id", "", "nora", "Ann")
    await keys.type("May everybody on hs.test", "n")
    await keys.type("Address of a SearXNG", "")
    await keys.type("Number or name [own]", "none")
    await keys.type("Your time zone", "Mars/Base", "Europe/Berlin")


@only("direct")
async def test_by_keys(tmp_path: Path, model: ScriptedModel, door: Door, keys: Keys) -> None:
    await answer_all(keys, model, door.address)
    await keys.sees("What will be written")
    await keys.type("Write all this? (y/n) [y]", "")
    assert await keys.ended() == 0, keys.said
    for why in (
        "would not be taken for a person's name", "expected a Matrix user name",
        "expected a number from 1 to 3", "expected letters, digits", "expected a web address",
        "Expected y or n", "expected two numbers", "expected US dollars",
        "box does not list wrong", "expected a number of tokens",
        "expected the homeserver's name", "does not answer", "begins with postgresql://",
        "Is empty", "is the agent's own name", "expected a time zone",
    ):  # fmt: skip
        assert why.lower() in keys.said.lower(), why
    assert KEY not in keys.said
    written = document.read(tmp_path / "config.yaml")
    assert written["main_agent"] == {
        "name": "Nora", "model": "small", "verbose": False, "reasoning": False
    }  # fmt: skip
    assert written["providers"]["box"]["api_key"] == "$BOX_API_KEY"
    assert written["permissions"] == {"*": "none", "hs.test": "none", "@ann:hs.test": "admin"}
    assert written["models"]["small"]["context"] == 4096
    assert written["models"]["small"]["price"] == {"input": 0.1, "output": 0.5}
    assert written["budgets"] == {"cost_per_day": 2.5}
    secret = tmp_path / "secrets/BOX_API_KEY"
    assert secret.read_text().strip() == KEY and secret.stat().st_mode & 0o777 == 0o600
    for name in ("config.yaml", "registration.yaml"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    settings = config.load(tmp_path / "config.yaml")
    assert settings.providers["box"].options["api_key"] == KEY
    text = (tmp_path / "config.yaml").read_text()
    example = (ROOT / "config.example.yaml").read_text()
    lost = {line.strip() for line in example.splitlines() if line.strip().startswith("#")} - {
        line.strip() for line in text.splitlines()
    }
    assert all("memtrix.local" in line for line in lost), lost  # these name our domain now
    await again_and_everything_stays(tmp_path, model)


async def again_and_everything_stays(folder: Path, model: ScriptedModel) -> None:
    """A second run, in which nothing is typed."""
    names = ("config.yaml", "registration.yaml", "secrets/BOX_API_KEY")
    before = [(folder / name).read_bytes() for name in names]
    keys = Keys(folder, "onboard", "--no-tests")
    try:
        while "Write all this?" not in keys.said:
            await asyncio.to_thread(keys.child.expect, r": \Z")
            keys.said += keys.child.before
            keys.child.sendline("")
        assert await keys.ended() == 0, keys.said
    finally:
        keys.close()
    assert before == [(folder / name).read_bytes() for name in names]


async def test_stopping_writes_nothing(tmp_path: Path, keys: Keys) -> None:
    await keys.type("What is your agent called?", "Nora")
    await keys.sees("user name on the homeserver")
    keys.child.sendcontrol("c")
    assert await keys.ended() == 130
    assert "is not written" in keys.said and "Traceback" not in keys.said
    assert os.listdir(tmp_path) == []


# --- by a file ---------------------------------------------------------------------------------


@only("direct")
async def test_what_it_writes_starts_the_service_and_answers(
    answers: Answers, stage: Stage, model: ScriptedModel
) -> None:
    port = free_port()
    answers.given["homeserver"]["address"] = stage.door.address
    answers.given["appservice"] = {
        "port": port, "address": stage.door.address, "hostname": "127.0.0.1",
        "database": stage.database.dsn,
    }  # fmt: skip
    model.says("I work.")
    assert await asyncio.to_thread(answers.run) == 0
    assert answers.written["appservice"]["database"] == "$DATABASE_URL"
    # the test's homeserver has been given its registration before
    given = stage.door.registration
    tokens = {f"appservice.{name}": given[name] for name in ("as_token", "hs_token")}
    document.change(answers.config, tokens)
    await stage.door.lead_to(f"http://127.0.0.1:{port}")
    app = App(config.load(answers.config), answers.config)
    await app.start()
    try:
        await asyncio.wait_for(app.ready.wait(), PATIENCE)
        chat = await stage.chat()
        model.says("Hello, and well configured.")
        await chat.send("hello")
        assert await chat.reply() == "Hello, and well configured."
    finally:
        await app.stop()


def test_a_provider_that_somebody_dropped_in(
    answers: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = answers.folder / "mine"
    folder.mkdir()
    (folder / "cloud.py").write_text(PROVIDER)
    answers.given["provider_directories"] = "mine"
    section = {"type": "cloud", "access_token": KEY, "region": "north", "tries": 5}
    answers.given["providers"] = {"sky": section}
    answers.given["models"] = {"big": {"provider": "sky", "model": "large-1", "think": True}}
    assert answers.run() == 0
    assert answers.written["providers"]["sky"] == section | {"access_token": "$SKY_ACCESS_TOKEN"}
    assert "big: Hello from north, 5 tries." in capsys.readouterr().out
    assert config.load(answers.config).providers["sky"].options["access_token"] == KEY
    section["region"] = "nowhere"
    assert answers.run() == 0
    assert "there is no such region" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("user", "@you:hs.test", "user: is still the example's"),
        ("timezone", "Mars", 'timezone: found "Mars", expected a time zone'),
        ("channel", "irc", "channel: found \"irc\", expected one of: matrix, cli"),
        ("nickname", "Max", "no question is: nickname"),
        ("providers", {}, "providers: expected at least one"),
        ("providers", {"x": {"type": "openrouter"}}, "providers.x.api_key: is empty"),
        ("providers", {"x": {"type": "y"}}, "providers.x.type: found \"y\""),
        ("others", "maybe", "others: expected true or false"),
        ("models", {"m": {"provider": "box", "model": "s", "context": 1}}, "models.m.context"),
    ],
)  # fmt: skip
def test_wrong_answers_are_told_with_their_key(
    answers: Answers, capsys: pytest.CaptureFixture[str], key: str, value: Any, told: str
) -> None:
    answers.given[key] = value
    assert answers.run("--no-tests") == 1
    assert told in capsys.readouterr().err
    assert not answers.config.exists()


def test_what_does_not_answer_is_told_and_kept(
    answers: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    answers.given["providers"]["box"]["base_url"] = "http://127.0.0.1:9"
    answers.given["search"] = "http://127.0.0.1:9"
    assert answers.run() == 0
    said = capsys.readouterr().out
    assert "It is kept all the same" in said and "http://127.0.0.1:9 does not answer." in said
    assert answers.written["search"] == {"searxng_url": "http://127.0.0.1:9"}


def test_steps_can_be_left_out_of_a_second_run(answers: Answers) -> None:
    assert answers.run("--no-tests") == 0
    first = answers.config.read_text()
    answers.given = {"timezone": "Asia/Tokyo"}
    skipped = (
        "agent", "providers", "models", "budgets", "homeserver", "people", "search", "embeddings",
    )  # fmt: skip
    assert answers.run(*(f"--skip={step}" for step in skipped), "--no-tests") == 0
    line = "timezone: Europe/Berlin"
    assert answers.config.read_text() == first.replace(line, "timezone: Asia/Tokyo")


def test_the_terminal_alone(answers: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    for key in ("homeserver", "appservice"):
        del answers.given[key]
    answers.given |= {"channel": "cli", "user": "ann"}
    assert answers.run("--no-tests") == 0
    assert "memtrix-as chat -c" in capsys.readouterr().out
    assert config.role(config.load(answers.config).permissions, "@ann:memtrix.local") == "admin"


def test_with_compose_the_services_are_known(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMTRIX_DOMAIN", "home.arpa")
    for key in ("homeserver", "appservice", "channel", "search"):
        del answers.given[key]
    answers.given |= {"user": "ann", "registration": {"how": "later"}}
    answers.given["providers"] = {"o": {"type": "ollama"}}
    answers.given["models"]["small"]["provider"] = "o"
    answers.config = answers.folder / "config" / "config.yaml"
    (answers.config.parent / "secrets").mkdir(parents=True)
    dsn = "postgresql://memtrix:sesame99@postgres/memtrix"
    (answers.config.parent / "secrets/DATABASE_URL").write_text(dsn)
    assert answers.run("--no-tests", "--compose") == 0
    settings = config.load(answers.config)
    assert settings.homeserver.address == "http://conduit:6167"
    assert settings.appservice.address == "http://memtrix:29345"
    assert settings.appservice.database == dsn
    assert settings.providers["o"].options["base_url"] == "http://host.docker.internal:11434"
    assert settings.search.searxng_url == "http://searxng:8080"
    assert settings.workspace_directory.resolve() == answers.folder / "workspace"
    assert settings.permissions["@ann:home.arpa"] == "admin"


async def test_it_makes_the_first_account_and_registers(
    answers: Answers, servers: tuple[Homeserver, dict[str, Door]], http: aiohttp.ClientSession,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    server = NewConduit(servers[0], http, free_port())
    admins = await server.start()
    try:
        port = free_port()
        answers.given["homeserver"] |= {"software": "conduit", "address": server.address}
        answers.given["appservice"] = {"port": port, "address": f"http://127.0.0.1:{port}"}
        (answers.folder / "password").write_text(PASSWORD)
        (answers.folder / "token").write_text(TOKEN)
        answers.given["user"] = f"@owner{port}:hs.test"
        answers.given["registration"] = {
            "how": "create", "password_from": str(answers.folder / "password"),
            "token_from": str(answers.folder / "token"),
        }  # fmt: skip
        assert await asyncio.to_thread(answers.run, "--no-tests") == 0
        said = capsys.readouterr().out
        assert f"Made the account @owner{port}:hs.test." in said
        assert "Appservice registered with ID: memtrix." in said and "reaches us" in said
        assert PASSWORD not in said and TOKEN not in said
        assert "memtrix" in admins.registered
    finally:
        await server.stop()


async def test_an_account_whose_password_is_made(
    answers: Answers, servers: tuple[Homeserver, dict[str, Door]], http: aiohttp.ClientSession
) -> None:
    """The step of registration alone, by keys; the rest is there."""
    server = NewConduit(servers[0], http, free_port())
    admins = await server.start()
    port = free_port()
    answers.given["homeserver"] |= {"software": "conduit", "address": server.address}
    answers.given["appservice"] = {"port": port, "address": f"http://127.0.0.1:{port}"}
    answers.given["user"] = user = f"@self{port}:hs.test"
    assert await asyncio.to_thread(answers.run, "--no-tests") == 0
    (answers.folder / "token").write_text(TOKEN)
    steps = (
        "agent",
        "providers",
        "models",
        "budgets",
        "people",
        "search",
        "embeddings",
        "timezone",
    )
    keys = Keys(answers.folder, "onboard", "--no-tests", *(f"--skip={s}" for s in steps),
                "--skip=homeserver")  # fmt: skip
    try:
        await keys.type("Number or name [login]", "create")
        await keys.type("Administrator of the homeserver", "")
        await keys.type("type nothing to have one made", "one password")
        await keys.type("Once more", "another")
        await keys.type("type nothing to have one made", "")
        await keys.type("Registration token", "no-such-file", "token")
        await keys.type("Write all this?", "")
        assert await keys.ended() == 0, keys.said
    finally:
        keys.close()
        await server.stop()
    assert "The two differ" in keys.said and "o-such-file cannot be read" in keys.said
    assert "another" not in keys.said and "memtrix" in admins.registered
    (password,) = re.findall(r"Your password on the homeserver: (\S+)", keys.said)
    who = {"type": "m.id.user", "user": user}
    login = {"type": "m.login.password", "identifier": who, "password": password}
    assert (await servers[0].api(http).call("POST", "/login", login))["user_id"] == user


def test_the_answers_that_the_documentation_shows(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    (answers.folder / "key").write_text(KEY)
    named = str(answers.folder / "key")
    monkeypatch.setenv("MEMTRIX_SECRET_OPENROUTER_API_KEY_FILE", named)
    monkeypatch.chdir(answers.folder)
    (block,) = re.findall(
        r"```yaml\n(.*?)```", (ROOT / "docs/onboarding.md").read_text(), re.DOTALL
    )
    (answers.folder / "shown.yaml").write_text(block)
    answers.given = document.read(answers.folder / "shown.yaml")
    (answers.folder / "providers").mkdir()
    assert answers.run("--no-tests", "--skip=registration") == 0
    settings = config.load(answers.config)
    assert settings.models["large"].think and settings.main_agent.model == "large"
    assert settings.providers["my-openrouter"].options["api_key"] == KEY
