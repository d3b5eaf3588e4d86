"""Sub-agents by the management room: made, renamed, asked, archived, brought back and deleted."""

from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.management import confirms, types
from tests.rig.modes import only
from tests.rig.settings import MODEL
from tests.rig.stage import Stage

pytestmark = only("direct")


async def made(office: Chat, stage: Stage) -> str:
    """A sub-agent; its user id."""
    said = await types(office, 'agent create Dennis "knows Python and databases"')
    assert "Dennis is there" in said
    return stage.door.user(f"{stage.door.registration['id']}_dennis")


async def test_made_and_talked_to(office: Chat, stage: Stage, model: ScriptedModel) -> None:
    user = await made(office, stage)
    assert user in await types(office, "agent show Dennis")
    shown = await types(office, "agent show dennis")
    assert "knows Python and databases" in shown and office.human.user_id in shown
    assert "of 2,000 MB (0%)" in shown
    room = await office.human.create_room(user, is_direct=True)
    await office.human.sees_member(room, user)
    model.says("I am Dennis.")
    await office.human.send(room, "who are you?")
    assert await office.human.reply(room) == "I am Dennis."
    said = await types(office, f"agent create Erna cooks well model={MODEL}")
    assert f"`{MODEL}`" in said
    assert "cooks well" in await types(office, "agent show Erna")
    assert "model" in await types(office, "agent create Fritz cooks model=nonsense")
    assert "Fritz" not in await types(office, "agents")


async def test_names_that_cannot_be(office: Chat, stage: Stage) -> None:
    await made(office, stage)
    for name in ("Dennis", "Memtrix", '"   "', "-"):
        said = await types(office, f"agent create {name}")
        assert "is there as" not in said, name
    assert "Erna" in await types(office, "agent rename Dennis Erna")
    assert "Erna" in await types(office, "agents")
    assert "Memtrix" in await types(office, "agent rename Erna Memtrix")


async def test_asked(office: Chat, stage: Stage, model: ScriptedModel) -> None:
    await made(office, stage)
    model.says("On a query.")
    await office.send("agent ask Dennis what are you working on?")
    assert "is asked" in await office.notice()
    assert "On a query." in await office.notice()
    assert model.requests[-1].last_user.endswith("what are you working on?")


async def test_archived_and_restored(office: Chat, stage: Stage, model: ScriptedModel) -> None:
    user = await made(office, stage)
    room = await office.human.create_room(user, is_direct=True)
    await office.human.sees_member(room, user)
    await confirms(office, "agent archive Dennis")
    await office.human.sees_member(room, user, "leave")
    assert "archived" in await types(office, "agents")
    assert "is back" in await types(office, "agent restore Dennis")
    assert "archived" not in await types(office, "agents")


async def test_deleted(office: Chat, stage: Stage) -> None:
    user = await made(office, stage)
    room = await office.human.create_room(user, is_direct=True)
    await office.human.sees_member(room, user)
    asked = await types(office, "agent delete Dennis")
    assert "1 room" in asked and "for ever" in asked
    await types(office, "yes")
    await office.human.sees_member(room, user, "leave")
    assert "Dennis" not in await types(office, "agents")
    assert "no agent" in await types(office, "agent show Dennis")


async def test_an_archived_one_is_deleted_too(office: Chat, stage: Stage) -> None:
    await made(office, stage)
    await confirms(office, "agent archive Dennis")
    asked = await types(office, "agent delete Dennis")
    assert "who is archived" in asked and "for ever" in asked
    await types(office, "yes")
    assert "Dennis" not in await types(office, "agents")
    assert not await stage.database.fetch("select from agents where not main")
