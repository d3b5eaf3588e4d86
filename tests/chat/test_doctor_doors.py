"""The doctor before and after a first start, behind both kinds of homeserver."""

from memtrix_as import config, database
from memtrix_as.testing import ScriptedModel
from tests.rig.modes import only
from tests.rig.patient import Patient
from tests.rig.service import Service
from tests.rig.settings import DOMAIN


async def test_before_and_after_the_first_start(stopped: Service, model: ScriptedModel) -> None:
    patient = Patient(stopped, model)
    stopped.permit(**{DOMAIN: "admin"})
    assert not await patient.faults()
    await stopped.start()
    await stopped.stop()
    found = await patient.found()
    assert not [each for each in found if each.state != "ok"], found


async def test_a_token_that_is_not_known(stopped: Service, model: ScriptedModel) -> None:
    patient = Patient(stopped, model)
    patient.set("appservice.as_token", "another-token-than-that-of-the-registration")
    await patient.fault("registration", says="as_token", fix="memtrix-as -g")


@only("direct")
async def test_an_embedded_database_is_woken_for_a_moment(
    stopped: Service, model: ScriptedModel
) -> None:
    patient = Patient(stopped, model)
    patient.set("appservice.database", "embedded")
    patient.write()
    settings = config.load(patient.config)
    async with database.opened(settings):
        pass
    found = {each.check: each for each in await patient.found()}
    assert "embedded" in found["database"].found and found["pgvector"].state == "ok"
    assert found["migrations"].state == "warn" and "the start migrates it" in (
        found["migrations"].fix
    )
    assert not (settings.data_directory / "postgres" / "cluster" / "postmaster.pid").exists()
