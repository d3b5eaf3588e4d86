"""`memtrix-as register`: through the admin room of a new Conduit, and what may go wrong there."""

import argparse
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from rich.console import Console

from memtrix_as import __main__ as command
from memtrix_as import config
from memtrix_as.errors import ConfigError, HomeserverError
from memtrix_as.local.ports import free_port
from memtrix_as.settings import document
from memtrix_as.terminal.registering import Registering
from tests.rig.admin_room import CONDUIT, TOKEN, TUWUNEL, NewConduit
from tests.rig.door import Door
from tests.rig.homeserver import PASSWORD, Homeserver
from tests.rig.human import Human
from tests.rig.keys import Keys
from tests.rig.waiting import until

Servers = tuple[Homeserver, dict[str, Door]]
_numbers = itertools.count()


class Place:
    """A folder with a configuration that nobody knows yet, and what the command says there."""

    def __init__(self, folder: Path, server: NewConduit, software: str) -> None:
        self.folder, self.server = folder, server
        self.config, self.said = folder / "config.yaml", ""
        port = free_port()
        service = {
            "address": f"http://127.0.0.1:{port}", "hostname": "127.0.0.1", "port": port,
            "id": f"new{next(_numbers)}",
        }  # fmt: skip
        home = {"address": server.address, "domain": "hs.test", "software": software}
        document.write(self.config, {"homeserver": home, "appservice": service}, "")

    def set(self, key: str, value: Any) -> None:
        document.change(self.config, {key: value})

    def secret(self, text: str) -> str:
        """A file that holds it."""
        path = self.folder / f"secret{next(_numbers)}"
        path.write_text(text + "\n")
        return str(path)

    async def register(self, *more: str, password: str = PASSWORD) -> int:
        """Run the command with these options; its exit status."""
        arguments = ["-c", str(self.config), "register", *more]
        if "--check" not in more:
            arguments += ["--password-from", self.secret(password)]
        options = command._parser().parse_args(arguments)
        with (self.folder / "out").open("w") as out:
            console = Console(file=out, width=4000, highlight=False)
            try:
                return await Registering(options, console).run()
            finally:
                out.flush()
                self.said = (self.folder / "out").read_text()
                self.nothing_secret()

    def nothing_secret(self) -> None:
        service = document.read(self.config)["appservice"]
        tokens = [service[name] for name in ("as_token", "hs_token") if name in service]
        for secret in (*tokens, PASSWORD, TOKEN):
            assert secret not in self.said

    @property
    def registered(self) -> dict[str, Any]:
        return self.server.admins.registered

    @property
    def id(self) -> str:
        return str(document.read(self.config)["appservice"]["id"])


@pytest.fixture
async def server(servers: Servers, http: aiohttp.ClientSession) -> AsyncIterator[NewConduit]:
    server = NewConduit(servers[0], http, free_port())
    await server.start(CONDUIT)
    yield server
    await server.stop()


@pytest.fixture
def place(server: NewConduit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path, server, "conduit")


@pytest.fixture
async def admin(servers: Servers, server: NewConduit, http: aiohttp.ClientSession) -> Human:
    """The first human, who is in the admin room."""
    homeserver = servers[0]
    user_id, token = await homeserver.account(http, f"boss{next(_numbers)}")
    human = Human(homeserver.api(http, token), user_id)
    await human.open_eyes()
    await server.admit(human)
    await human.close_eyes()
    return human


async def test_an_administrator_registers_us(place: Place, admin: Human) -> None:
    assert await place.register("--user", admin.name) == 0
    assert f"The homeserver replied: Appservice registered with ID: {place.id}." in place.said
    assert f"knows {place.id}, and reaches us at http://127.0.0.1" in place.said
    given = place.registered[place.id]
    assert given["as_token"] == config.load_service(place.config).appservice.as_token
    # the tokens are gone from the room, and the login from the account
    await until(place.server.admins.redacted, "our message to be redacted")
    devices = (await admin.api.call("GET", "/devices"))["devices"]
    assert "memtrix-as register" not in [device.get("display_name") for device in devices]
    assert (place.folder / "registration.yaml").stat().st_mode & 0o777 == 0o600


async def test_the_first_account_with_a_registration_token(place: Place) -> None:
    options = ("--create", "--user", f"first{next(_numbers)}")
    with pytest.raises(HomeserverError, match="wants a registration token"):
        await place.register(*options)
    with pytest.raises(HomeserverError, match="does not accept this registration token"):
        await place.register(*options, "--token-from", place.secret("wrong"))
    assert await place.register(*options, "--token-from", place.secret(TOKEN)) == 0
    assert "Made the account @first" in place.said
    assert place.id in place.registered


async def test_the_emergency_password_of_conduit_itself(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMTRIX_SECRET_EMERGENCY", PASSWORD)
    options = ["-c", str(place.config), "register", "--user", "conduit"]
    parsed = command._parser().parse_args([*options, "--password-from", "$EMERGENCY"])
    assert await Registering(parsed, Console(quiet=True)).run() == 0
    assert place.id in place.registered


async def test_the_same_id_is_replaced(place: Place, admin: Human) -> None:
    assert await place.register("--user", admin.name) == 0
    place.set("appservice.username_template", "bot_{name}")
    assert await place.register("--user", admin.name) == 0
    assert "the new one replaces it" in place.said and "clear-database-caches" in place.said
    assert "bot_" in place.registered[place.id]["namespaces"]["users"][1]["regex"]
    assert list(place.registered) == [place.id]
    assert await place.register("--user", admin.name, "--new-tokens") == 0
    assert await place.register("--check") == 0


async def test_what_conduit_complains_of_is_reported(
    place: Place, admin: Human, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memtrix_as.matrix.registration.text", lambda _: "id: x\nurl: null\n")
    assert await place.register("--user", admin.name) == 1
    assert "Could not parse appservice config: missing field `as_token`" in place.said
    assert "By hand: In the room #admins:hs.test, send" in place.said
    await until(place.server.admins.redacted, "our message to be redacted")


async def test_somebody_who_is_no_administrator(
    place: Place, servers: Servers, http: aiohttp.ClientSession
) -> None:
    user_id, _ = await servers[0].account(http, f"guest{next(_numbers)}")
    with pytest.raises(
        HomeserverError, match=r"is no administrator: it is not in #admins:hs\.test"
    ):
        await place.register("--user", user_id)
    with pytest.raises(HomeserverError, match="wrong name or password"):
        await place.register("--user", user_id, password="sesame-9-sesame")
    assert not place.registered


async def test_no_answer(place: Place, admin: Human) -> None:
    place.server.admins.silent = True
    assert await place.register("--user", admin.name, "--timeout", "1") == 1
    assert "did not reply within 1 s" in place.said and "By hand:" in place.said
    await until(place.server.admins.redacted, "our message to be redacted")


async def test_other_talk_in_the_admin_room_is_no_answer(place: Place, admin: Human) -> None:
    """Somebody else's reply, before ours and from an earlier day; ours is known by its text."""
    admins = place.server.admins
    admins.chatter = "Appservices (0):"
    assert await place.register("--user", admin.name) == 0
    admins.silent = True
    assert await place.register("--user", admin.name, "--timeout", "1") == 1
    assert "The homeserver replied: Appservices (0):" in place.said
    admins.chatter = ""
    assert await place.register("--user", admin.name, "--timeout", "1") == 1
    assert "did not reply" in place.said  # and the earlier success is not taken for one


async def test_an_address_at_which_we_are_not_reached(place: Place, admin: Human) -> None:
    place.set("appservice.address", "http://127.0.0.1:9")
    assert await place.register("--user", admin.name) == 1
    assert "does not reach us at http://127.0.0.1:9: it cannot connect" in place.said


async def test_looking_only(place: Place, admin: Human) -> None:
    with pytest.raises(ConfigError, match="has no tokens yet"):
        await place.register("--check")
    place.server.admins.silent = True
    await place.register("--user", admin.name, "--timeout", "1")
    assert await place.register("--check") == 1
    assert f"does not know the registration {place.id}" in place.said


async def test_synapse_is_told_by_a_file(place: Place) -> None:
    place.set("homeserver.software", "synapse")
    assert await place.register() == 1
    assert "app_service_config_files" in place.said


async def test_tuwunel_and_its_kin(
    servers: Servers, http: aiohttp.ClientSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = NewConduit(servers[0], http, free_port())
    await server.start(TUWUNEL)
    try:
        for software in ("tuwunel", "continuwuity"):
            place = Place(tmp_path, server, software)
            assert await place.register("--user", "conduit") == 0
            assert await place.register("--user", "conduit") == 1
            assert "Duplicate id" in place.said
            assert f"!admin appservices unregister {place.id}" in place.said
    finally:
        await server.stop()


async def test_without_a_terminal_nothing_is_asked(place: Place) -> None:
    options = argparse.Namespace(**vars(command._parser().parse_args(["register"])))
    options.config = place.config
    with pytest.raises(ConfigError, match="Without a terminal"):
        await Registering(options, Console(quiet=True)).run()


async def test_name_and_password_are_asked_in_a_terminal(place: Place, admin: Human) -> None:
    keys = Keys(place.folder, "register")
    try:
        await keys.type("Administrator of the homeserver", admin.name)
        await keys.type(f"Password of {admin.name}", PASSWORD)
        assert await keys.ended() == 0, keys.said
    finally:
        keys.close()
    assert "Appservice registered with ID" in keys.said and PASSWORD not in keys.said
    assert place.id in place.registered
    place.nothing_secret()
