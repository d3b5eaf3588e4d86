"""The doctor and the management room."""

import pytest

from memtrix_as.doctor import command
from memtrix_as.doctor.check import Finding
from tests.rig.chat import Chat
from tests.rig.human import Human
from tests.rig.management import point_alias
from tests.rig.modes import only
from tests.rig.service import Service
from tests.rig.stage import Stage

pytestmark = only("direct")


@pytest.fixture
def settled(office: Chat, stopped: Service) -> Chat:
    return office


async def found(service: Service) -> Finding:
    path = service.folder / "config.yaml"
    path.chmod(0o600)
    findings = await command.look(path, calls=False)
    return next(each for each in findings if each.check == "management room")


async def test_it_is_there_with_its_administrator(settled: Chat, stopped: Service) -> None:
    told = await found(stopped)
    assert told.state == "ok" and settled.human.user_id in told.found


async def test_no_administrator_is_in_it(settled: Chat, stopped: Service) -> None:
    await settled.human.leave(settled.room)
    told = await found(stopped)
    assert (told.state, told.fix) == ("warn", "restart the service: it invites them")
    assert "no administrator is in #" in told.found


async def test_the_alias_leads_elsewhere(settled: Chat, stopped: Service, stage: Stage) -> None:
    await stage.door.remove_alias()
    await point_alias(stage.door, await settled.human.create_room(stage.agent))
    told = await found(stopped)
    assert told.state == "fail" and "does not lead to our room" in told.found


async def test_the_agent_is_not_in_it(settled: Chat, stopped: Service, stage: Stage) -> None:
    await stage.door.api.call("POST", f"/rooms/{settled.room}/leave", {}, user_id=stage.agent)
    told = await found(stopped)
    assert told.state == "fail" and f"{stage.agent} is not in" in told.found
    assert "invite" in told.fix


async def test_it_is_encrypted(settled: Chat, stopped: Service, stage: Stage, ann: Human) -> None:
    path = f"/rooms/{settled.room}/state/m.room.encryption/"
    body = {"algorithm": "m.megolm.v1.aes-sha2"}
    await stage.door.api.call("PUT", path, body, user_id=stage.agent)
    told = await found(stopped)
    assert told.state == "fail" and "is encrypted" in told.found
