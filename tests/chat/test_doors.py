"""The rig itself: the Conduit door must have the traits that the conversations rely on."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from memtrix_as.local.ports import free_port
from tests.rig.api import Json, Refused
from tests.rig.conduit import ConduitDoor
from tests.rig.human import Human
from tests.rig.modes import only
from tests.rig.stage import Stage
from tests.rig.waiting import until


class Recorder:
    """A service that only writes down what is pushed to it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.transactions: list[tuple[str, Json]] = []
        self.status = 200

    async def take(self, request: web.Request) -> web.Response:
        if self.status == 200:
            self.transactions.append((request.match_info["txn"], await request.json()))
        return web.json_response({}, status=self.status)

    @property
    def bodies(self) -> list[str]:
        events = [e for _, body in self.transactions for e in body["events"]]
        return [e["content"]["body"] for e in events if e["type"] == "m.room.message"]


@pytest.fixture
async def recorder(stage: Stage) -> AsyncIterator[Recorder]:
    recorder = Recorder()
    app = web.Application()
    app.router.add_put("/_matrix/app/v1/transactions/{txn}", recorder.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", recorder.port).start()
    await stage.door.lead_to(f"http://127.0.0.1:{recorder.port}")
    yield recorder
    await runner.cleanup()


async def room_of(stage: Stage) -> tuple[Human, str]:
    """A human's room with the agent in it, which the test has brought in by hand."""
    human = await stage.person()
    body = {"type": "m.login.application_service", "username": stage.agent[1:].split(":")[0]}
    try:
        await stage.door.api.call("POST", "/register", {**body, "inhibit_login": True})
    except Refused as refused:
        assert refused.errcode == "M_USER_IN_USE"
    room = await human.create_room(stage.agent)
    await stage.door.api.call("POST", f"/rooms/{room}/join", {}, user_id=stage.agent)
    return human, room


async def test_events_reach_the_service(stage: Stage, recorder: Recorder) -> None:
    human, room = await room_of(stage)
    for text in ("one", "two", "three"):
        await human.send(room, text)
    await until(lambda: recorder.bodies == ["one", "two", "three"], "the three messages")
    assert not any(body.get("ephemeral") for _, body in recorder.transactions)


@only("conduit")
async def test_conduit_retries_only_at_the_next_event(stage: Stage, recorder: Recorder) -> None:
    human, room = await room_of(stage)
    recorder.status = 503
    await human.send(room, "one")
    await until(lambda: stage.door.pushes and stage.door.pushes[-1].status == 503, "a failure")
    recorder.status = 200
    await human.quiet(room, 0.6)
    assert recorder.bodies == []
    await human.send(room, "two")
    await until(lambda: recorder.bodies == ["one", "two"], "both messages, in order")


@only("conduit")
async def test_conduit_refuses_what_conduit_refuses(stage: Stage, recorder: Recorder) -> None:
    assert isinstance(stage.door, ConduitDoor)
    _, room = await room_of(stage)
    api = type(stage.door.api)(
        stage.door.api.http, stage.door.address, stage.door.registration["as_token"]
    )
    for path, user, status in (
        ("/account/whoami", {}, 403),
        ("/account/whoami", {"user_id": stage.agent}, 403),
        ("/account/whoami", {"user_id": "@bob:hs.test"}, 400),
    ):
        with pytest.raises(Refused) as refused:
            await api.call("GET", path, **user)
        assert refused.value.status == status
    body = {"type": "m.login.application_service", "username": stage.agent[1:].split(":")[0]}
    with pytest.raises(Refused):
        await api.call("POST", "/register", body)
    assert await api.call("GET", "/account/whoami", user_id=stage.agent)
    with pytest.raises(Refused) as refused:
        await api.call("GET", f"/rooms/{room}/messages", dir="b", user_id=stage.agent)
    assert refused.value.status == 500
