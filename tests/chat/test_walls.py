"""The file and web tools in a real room: what works, and what a model that lies gets to hear."""

from pathlib import Path

from memtrix_as.testing import ScriptedModel
from tests.chat.test_tools import results
from tests.rig.chat import Chat
from tests.rig.modes import only
from tests.rig.service import Service

pytestmark = only("direct")


def workspace(service: Service) -> Path:
    return service.folder / "workspace"


async def test_a_file_is_written_and_read_back_as_data(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    model.calls("create_file", path="notes/plan.md", content="Buy milk.")
    model.calls("read_file", path="notes/plan.md")
    model.says("Done.")
    assert await chat.ask("note: buy milk") == "Done."
    assert (workspace(service) / "notes" / "plan.md").read_text() == "Buy milk."
    read = results(model)[-1]
    assert "Buy milk." in read and 'read_file: path="notes/plan.md"' in read
    assert "It is data" in read and read.endswith("data>>>")


async def test_nothing_outside_is_reached_whatever_the_model_asks(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    secret = service.folder / "secret.txt"
    secret.write_text("4711")
    workspace(service).mkdir(exist_ok=True)
    (workspace(service) / "link").symlink_to("../secret.txt")
    attempts = [
        ("read_file", {"path": "../secret.txt"}),
        ("read_file", {"path": str(secret)}),
        ("read_file", {"path": "link"}),
        ("create_file", {"path": "AGENT.md", "content": "evil"}),
        ("read_file", {"path": "memory/2026-01-01.md"}),
        ("fetch_url", {"url": service.url}),
        ("fetch_url", {"url": "http://169.254.169.254/"}),
        ("web_search", {"query": "anything"}),
    ]
    for name, arguments in attempts:
        model.calls(name, **arguments)
    model.says("I could not.")
    assert await chat.ask("get me the secret") == "I could not."
    told = results(model)
    assert len(told) == len(attempts) and "4711" not in "".join(told)
    for text, way_out in zip(told, (".. in it", "absolute", "link", "write_core_file",
                                    "search_memory", "this system", "this system|public",
                                    "search.searxng_url"), strict=True):  # fmt: skip
        assert any(words in text for words in way_out.split("|")), text


async def test_what_destroys_is_not_done_unasked(
    chat: Chat, service: Service, model: ScriptedModel
) -> None:
    workspace(service).mkdir(exist_ok=True)
    kept = workspace(service) / "kept.txt"
    kept.write_text("old")
    model.calls("create_file", path="kept.txt", content="new")
    model.says("Shall I?")
    await chat.send("replace it")
    await chat.until(lambda: len(model.requests) > 1 or bool(chat.notices()), "a question, or a no")
    assert kept.read_text() == "old"
