"""The doctor at a healthy installation, and with its homeserver or database broken."""

import pytest

from memtrix_as.local.ports import free_port
from memtrix_as.testing import ScriptedModel
from tests.rig.database import Database
from tests.rig.modes import only
from tests.rig.patient import Patient, Somebody
from tests.rig.service import Process, Service
from tests.rig.settings import DOMAIN
from tests.rig.stage import Stage

pytestmark = only("direct")


@pytest.fixture
def patient(stopped: Service, model: ScriptedModel) -> Patient:
    return Patient(stopped, model)


async def test_a_healthy_installation(patient: Patient) -> None:
    found = await patient.found()
    assert not [each for each in found if each.state != "ok"], found
    assert {"database", "pgvector", "migrations", "homeserver", "registration", "domain"} < {
        each.check for each in found
    }
    assert {"user names", "way to us", "embeddings", "web search"} < {each.check for each in found}


async def test_the_command_of_a_healthy_installation(patient: Patient) -> None:
    code, text = await patient.told()
    assert code == 0 and text.endswith("All is well.\n"), text
    assert "\x1b" not in text  # no colours but on a terminal
    code, told = await patient.json("--no-model-calls")
    assert code == 0 and told["ok"]
    assert {each["state"] for each in told["checks"]} == {"ok"}


async def test_the_command_of_a_broken_one(patient: Patient) -> None:
    token = "another-token-than-that-of-the-registration"
    patient.set("appservice.as_token", token)
    code, text = await patient.told("--no-model-calls")
    assert code == 1
    assert "does not know our as_token" in text and "fix: memtrix-as -g" in text
    assert token not in text and patient.service.settings["appservice"]["hs_token"] not in text


async def test_while_the_service_runs(process: Process, model: ScriptedModel) -> None:
    patient = Patient(process, model)
    process.permit(**{DOMAIN: "admin"})  # nobody by name, who would have to be invited
    await process.stop()
    await process.start()
    found = {each.check: each for each in await patient.found()}
    assert not [each for each in found.values() if each.state != "ok"], found
    assert "the service runs" in found["port"].found
    assert "reaches us" in found["way to us"].found


async def test_what_is_pushed_meanwhile_is_not_lost(patient: Patient, stage: Stage) -> None:
    """The doctor listens in our place, where the homeserver may send what it has kept for us."""
    await patient.service.start()
    chat = await stage.chat()
    await patient.service.stop()
    await chat.send("are you there?")
    await patient.found()
    patient.model.by_default("I am.")
    await patient.service.start()
    assert await chat.reply() == "I am."


# --- the homeserver ------------------------------------------------------------------------------


async def test_no_homeserver(patient: Patient) -> None:
    patient.set("homeserver.address", f"http://127.0.0.1:{free_port()}")
    await patient.fault(
        "homeserver", says="nothing answers at", fix="start the homeserver, or correct homeserver"
    )


async def test_something_else_than_a_homeserver(patient: Patient) -> None:
    patient.set("homeserver.address", patient.model.url)
    await patient.fault("homeserver", says="is no homeserver", fix="homeserver.address")


async def test_a_homeserver_that_says_nothing(patient: Patient) -> None:
    async with Somebody() as somebody:
        somebody.silent = True
        patient.set("homeserver.address", somebody.url)
        await patient.fault("homeserver", says="gave no answer within", fix="homeserver.address")


async def test_a_clock_that_is_wrong(patient: Patient) -> None:
    old = "Tue, 24 Nov 2026 08:00:00 GMT"
    async with Somebody(body={"versions": ["v1.11"]}, Date=old) as somebody:
        patient.set("homeserver.address", somebody.url)
        found = {each.check: each for each in await patient.found()}
    assert found["clock"].state == "warn" and "ahead of" in found["clock"].found
    assert "NTP" in found["clock"].fix


async def test_a_registration_that_nobody_knows(patient: Patient) -> None:
    patient.set("appservice.as_token", "another-token-than-that-of-the-registration")
    found = await patient.fault("registration", says="as_token", fix="memtrix-as -g -c")
    assert "app_service_config_files" in found.fix


async def test_another_domain(patient: Patient) -> None:
    patient.set("homeserver.domain", "elsewhere.test")
    await patient.fault(
        "domain", says=f"is {DOMAIN}, and not elsewhere.test", fix=f"homeserver.domain to {DOMAIN}"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [("bot_username", "stranger"), ("username_template", "stranger_{name}")],
)
async def test_another_namespace(patient: Patient, key: str, value: str) -> None:
    patient.set(f"appservice.{key}", value)
    await patient.fault("user names", says=f"does not give us @{value[:8]}", fix="memtrix-as -g")


async def test_another_hs_token(patient: Patient) -> None:
    patient.set("appservice.hs_token", "another-token-than-that-of-the-registration")
    await patient.fault("way to us", says="another hs_token", fix="memtrix-as -g")


async def test_another_hs_token_while_the_service_runs(patient: Patient) -> None:
    await patient.service.start()
    patient.set("appservice.hs_token", "another-token-than-that-of-the-registration")
    await patient.service.restart()
    await patient.fault("way to us", says="another hs_token", fix="memtrix-as -g")


async def test_the_homeserver_cannot_reach_us(patient: Patient) -> None:
    await patient.service.door.lead_to(f"http://127.0.0.1:{free_port()}")
    await patient.fault("way to us", says="does not reach us", fix="appservice.hostname")


async def test_a_port_that_is_taken(patient: Patient) -> None:
    async with Somebody(404, port=patient.service.port):
        await patient.fault(
            "port", says=f"port {patient.service.port} is taken", fix="change appservice.port"
        )


async def test_an_address_that_is_not_ours(patient: Patient) -> None:
    patient.set("appservice.hostname", "192.0.2.1")
    await patient.fault("port", says="nobody can listen on 192.0.2.1", fix="appservice.hostname")


# --- the database --------------------------------------------------------------------------------


async def test_no_database(patient: Patient) -> None:
    patient.set("appservice.database", f"postgresql://memtrix@127.0.0.1:{free_port()}/memtrix")
    await patient.fault("database", says="cannot be reached", fix="appservice.database")


async def test_a_wrong_password(patient: Patient, database: Database) -> None:
    password = database.dsn.split(":")[2].split("@")[0]
    patient.set("appservice.database", database.dsn.replace(password, "hunter2hunter2"))
    found = await patient.fault("database", says="password", fix="correct the password in")
    assert "hunter2" not in found.found + found.fix


async def test_databases_that_are_not_ready(patient: Patient, database: Database) -> None:
    """Without pgvector, with an old one, and with it but without tables."""
    await database.fetch("create database ailing")
    dsn = database.dsn.replace("/memtrix", "/ailing")
    patient.set("appservice.database", dsn)
    ailing = Database.at(dsn)
    try:
        await patient.fault("pgvector", says="no pgvector", fix="create extension vector")
        await ailing.fetch("create extension vector")
        await patient.fault("migrations", says="without our tables", fix="alembic upgrade head")
        await ailing.fetch("update pg_extension set extversion = '0.7.4' where extname = 'vector'")
        found = {each.check: each for each in await patient.found()}
        assert found["pgvector"].state == "warn" and "0.7.4" in found["pgvector"].found
        await ailing.fetch("create table alembic_version as select '9999'::text as version_num")
        newer = {each.check: each for each in await patient.found()}["migrations"]
        assert newer.state == "fail" and "newer version" in newer.fix
    finally:
        await database.fetch("drop database ailing with (force)")


async def test_an_embedded_database_that_is_not_made_yet(patient: Patient) -> None:
    patient.set("appservice.database", "embedded")
    found = {each.check: each for each in await patient.found()}
    assert found["database"].state == "skipped" and "the first start makes it" in (
        found["database"].found
    )
    assert not (patient.service.folder / "data").exists()
