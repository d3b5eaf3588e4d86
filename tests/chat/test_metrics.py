"""The second port: whether the service lives and is ready, and what it counts."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from memtrix_as.errors import ConfigError
from memtrix_as.local.ports import free_port
from memtrix_as.testing import ScriptedModel
from tests.rig.chat import Chat
from tests.rig.database import Database
from tests.rig.modes import only
from tests.rig.patient import Somebody
from tests.rig.service import Service
from tests.rig.settings import MODEL
from tests.rig.stage import Stage
from tests.rig.waiting import eventually

pytestmark = only("direct")

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Watch:
    """Reads the second port of a service."""

    def __init__(self, service: Service) -> None:
        self._http, self._port = service.door.api.http, free_port()
        service.set("metrics.port", self._port)

    async def status(self, path: str) -> tuple[int, dict[str, bool]]:
        async with self._http.get(f"http://127.0.0.1:{self._port}{path}") as answer:
            return answer.status, await answer.json()

    async def samples(self) -> Samples:
        async with self._http.get(f"http://127.0.0.1:{self._port}/metrics") as answer:
            assert answer.status == 200 and "text/plain" in answer.headers["Content-Type"]
            text = await answer.text()
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def value(self, name: str, **labels: str) -> float:
        return (await self.samples()).get((name, tuple(sorted(labels.items()))), 0.0)

    async def reaches(self, count: float, name: str, **labels: str) -> None:
        async def there() -> bool:
            return await self.value(name, **labels) == count

        await eventually(there, f"{name} {labels} to be {count}")


@pytest.fixture
def watch(stopped: Service) -> Watch:
    return Watch(stopped)


@pytest.fixture
async def chat(watch: Watch, stopped: Service, stage: Stage) -> Chat:
    await stopped.start()
    return await stage.chat()


async def test_a_conversation_is_counted(chat: Chat, watch: Watch, model: ScriptedModel) -> None:
    model.calls("get_current_time")
    model.says("It is noon.")
    assert await chat.ask("what time is it?") == "It is noon."
    await watch.reaches(1, "memtrix_turns_total", outcome="done")
    for stage in ("waiting", "preparing", "first_word", "sending"):
        await watch.reaches(1, "memtrix_stage_seconds_count", stage=stage)
    seen = await watch.samples()
    assert 0 < seen["memtrix_stage_seconds_sum", (("stage", "sending"),)] < 5
    calls = (("model", MODEL), ("outcome", "ok"), ("purpose", "turn"))
    assert seen["memtrix_model_calls_total", calls] == 2
    assert seen["memtrix_model_seconds_count", (("model", MODEL),)] == 2
    assert seen["memtrix_model_tokens_total", (("direction", "prompt"), ("model", MODEL))] > 0
    clock = (("outcome", "ok"), ("tool", "get_current_time"))
    assert seen["memtrix_tool_calls_total", clock] == 1
    assert seen["memtrix_search_seconds_count", ()] == 1
    assert seen["memtrix_agents", ()] == 1 and seen["memtrix_database_up", ()] == 1
    assert seen["process_resident_memory_bytes", ()] > 0


async def test_failures_are_counted(chat: Chat, watch: Watch, model: ScriptedModel) -> None:
    model.fails(401)
    await chat.send("hello?")
    await chat.notice()
    await watch.reaches(1, "memtrix_turns_total", outcome="failed")
    kind = {"model": MODEL, "purpose": "turn", "outcome": "ModelRefused"}
    await watch.reaches(1, "memtrix_model_calls_total", **kind)
    assert await watch.value("memtrix_log_records_total", level="WARNING") >= 1
    model.calls("read_file", path="../etc/passwd")
    model.calls("made_up_by_the_model")
    model.says("I cannot.")
    assert await chat.ask("read it") == "I cannot."
    await watch.reaches(1, "memtrix_tool_calls_total", tool="read_file", outcome="refused")
    assert "made_up" not in str(await watch.samples())


async def test_a_question_is_counted(chat: Chat, watch: Watch, model: ScriptedModel) -> None:
    model.calls("delete_file", path="nothing.txt")
    model.calls("create_directory", path="new")
    model.calls("delete_directory", path="new")
    await chat.send("delete it")
    await watch.reaches(1, "memtrix_approvals")
    await watch.reaches(1, "memtrix_turns_total", outcome="parked")
    await watch.reaches(1, "memtrix_parked")
    assert await watch.value("memtrix_inbox") == 1
    assert await watch.value("memtrix_inbox_age_seconds") > 0


async def test_no_label_tells_of_rooms_or_people(
    chat: Chat, watch: Watch, model: ScriptedModel
) -> None:
    model.says("Hello.")
    await chat.ask("hello, zzsecretword")
    seen = str(await watch.samples())
    for word in (chat.room, chat.human.user_id, "zzsecretword", "hs.test"):
        assert word not in seen


async def test_it_lives_and_is_ready(chat: Chat, watch: Watch) -> None:
    assert await watch.status("/healthz") == (200, {"database": True})

    async def ready() -> bool:
        return await watch.status("/readyz") == (
            200, {"homeserver": True, "caught_up": True, "queue": True}
        )  # fmt: skip

    await eventually(ready, "the service to be ready")


async def test_it_is_not_ready_without_the_homeserver(watch: Watch, stopped: Service) -> None:
    async with Somebody(503) as nobody:
        stopped.set("homeserver.address", nobody.url)
        await stopped.launch()
        assert await watch.status("/healthz") == (200, {"database": True})
        status, state = await watch.status("/readyz")
        assert status == 503 and not state["homeserver"]
        await stopped.stop()


async def test_a_database_that_is_away(chat: Chat, watch: Watch, postgres: Database) -> None:
    await postgres.stop()
    try:
        assert await watch.status("/healthz") == (503, {"database": False})
        assert await watch.value("memtrix_database_up") == 0
    finally:
        await postgres.start()

    async def back() -> bool:
        return await watch.status("/healthz") == (200, {"database": True})

    await eventually(back, "the database to be back")


async def test_a_port_that_is_taken(stopped: Service) -> None:
    async with Somebody() as somebody:
        stopped.set("metrics.port", int(somebody.url.rpartition(":")[2]))
        with pytest.raises(ConfigError, match=r"metrics\.port: cannot listen"):
            await stopped.start()


async def test_without_a_port_nothing_listens(stopped: Service) -> None:
    """Two installations on a machine do not meet there."""
    await stopped.start()
    assert stopped.app.measures.text()
