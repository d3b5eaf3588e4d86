"""The decisions of the quick start: which model, which settings, what it says of an answer."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from memtrix_as import config
from memtrix_as.errors import LocalPartError
from memtrix_as.local import choose as choosing
from memtrix_as.local import exchange
from memtrix_as.local.choose import Choice, choose
from memtrix_as.local.exchange import Listener
from memtrix_as.local.installation import Installation, Wishes
from memtrix_as.local.ports import free_port
from memtrix_as.settings import document

BOT = "@memtrix:memtrix.local"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, and nothing where an Ollama would be."""
    for name in ("OPENROUTER_API_KEY", "MEMTRIX_SECRET_OPENROUTER_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("USER", "Jane Doe")
    monkeypatch.setattr(choosing, "OLLAMA", f"http://127.0.0.1:{free_port()}")


@pytest.fixture
async def ollama(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, list[str]]]:
    """Model names and what they can; change it to change the server."""
    models: dict[str, list[str]] = {}

    async def tags(_: web.Request) -> web.Response:
        return web.json_response({"models": [{"name": name} for name in models]})

    async def show(request: web.Request) -> web.Response:
        return web.json_response({"capabilities": models[(await request.json())["model"]]})

    app = web.Application()
    app.router.add_get("/api/tags", tags)
    app.router.add_post("/api/show", show)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    monkeypatch.setattr(choosing, "OLLAMA", f"http://127.0.0.1:{port}")
    yield models
    await runner.cleanup()


async def test_a_key_wins(monkeypatch: pytest.MonkeyPatch, ollama: dict[str, list[str]]) -> None:
    ollama["llama"] = ["completion"]
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-1")
    choice = await choose("some/model", 1)
    assert (choice.name, choice.model["model"]) == ("openrouter", "some/model")
    assert "sk-1" not in repr(choice)


async def test_an_ollama_is_asked_what_its_models_can(ollama: dict[str, list[str]]) -> None:
    ollama |= {"nomic": ["embedding"], "llama": ["completion"], "qwen": ["completion", "tools"]}
    assert (await choose(None, 1)).model == {"model": "llama", "tools": False}
    assert (await choose("qwen", 1)).model == {"model": "qwen", "tools": True}
    with pytest.raises(LocalPartError, match=r"no model gpt.* Ollama has nomic, llama, qwen"):
        await choose("gpt", 1)


async def test_else_the_small_model_says_what_it_is(ollama: dict[str, list[str]]) -> None:
    ollama["nomic"] = ["embedding"]
    choice = await choose(None, 4711)
    assert choice.small and choice.provider["base_url"] == "http://127.0.0.1:4711/v1"
    assert "little more" in choice.told and "OPENROUTER_API_KEY" in choice.told


SMALL = Choice(
    "small",
    {"type": "openai_compatible", "base_url": "http://127.0.0.1:29346/v1"},
    {"model": "tiny", "tools": False},
    "tiny",
)
OTHER = Choice("ollama", {"type": "ollama", "base_url": "http://x:1"}, {"model": "llama"}, "llama")


def tokens(place: Installation) -> None:
    made = {"appservice.as_token": "a" * 64, "appservice.hs_token": "b" * 64}
    document.change(place.config, made)


def test_the_first_run_writes_settings_that_load(tmp_path: Path) -> None:
    place = Installation(tmp_path)
    place.read(Wishes())
    assert place.configure(Wishes(port=7000, service_port=7001), SMALL)
    tokens(place)
    settings = config.load(place.config)
    assert settings.homeserver.address == "http://127.0.0.1:7000"
    assert settings.appservice.port == 7001
    assert settings.permissions["@janedoe:memtrix.local"] == "admin"
    assert (place.user_id, place.bot_id, place.port) == ("@janedoe:memtrix.local", BOT, 7000)
    assert len(place.notes["password"]) >= 16
    assert place.config.stat().st_mode & 0o777 == 0o600


def test_the_second_run_keeps_everything(tmp_path: Path) -> None:
    first = Installation(tmp_path)
    first.read(Wishes())
    first.configure(Wishes(port=7000), SMALL)
    tokens(first)
    document.change(first.config, {"main_agent.name": "Jeeves"})
    second = Installation(tmp_path)
    second.read(Wishes())
    assert second.configure(Wishes(), OTHER)
    assert second.notes == first.notes
    settings = config.load(second.config)
    assert (settings.main_agent.name, settings.main_agent.model) == ("Jeeves", "ollama")
    assert settings.homeserver.address == "http://127.0.0.1:7000"
    before = second.config.stat().st_mtime_ns
    second.configure(Wishes(), OTHER)
    assert second.config.stat().st_mtime_ns == before, "written without need"


def test_a_model_of_one_s_own_is_kept(tmp_path: Path) -> None:
    place = Installation(tmp_path)
    place.read(Wishes())
    place.configure(Wishes(), SMALL)
    document.change(place.config, {"main_agent.model": "mine"})
    assert not place.configure(Wishes(), OTHER)
    assert document.read(place.config)["main_agent"]["model"] == "mine"


def test_what_others_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("homeserver: {}\n")
    with pytest.raises(LocalPartError, match="not made by the quick start"):
        Installation(tmp_path).read(Wishes())
    assert (tmp_path / "config.yaml").read_text() == "homeserver: {}\n"


def test_another_account_is_refused(tmp_path: Path) -> None:
    Installation(tmp_path).read(Wishes(user="jane"))
    with pytest.raises(LocalPartError, match="account here is jane"):
        Installation(tmp_path).read(Wishes(user="joe"))


def test_the_service_gets_its_secrets_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Installation(tmp_path)
    place.settings = {"providers": {"x": {"api_key": "$OPENROUTER_API_KEY", "k": "$MINE"}}}
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-1")
    monkeypatch.setenv("MEMTRIX_SECRET_MINE_FILE", "/run/mine")
    monkeypatch.setenv("MEMTRIX_SECRET_FOREIGN", "sk-2")
    passed = place.environment()
    assert passed["MEMTRIX_SECRET_OPENROUTER_API_KEY"] == "sk-1"
    assert passed["MEMTRIX_SECRET_MINE_FILE"] == "/run/mine"
    assert "sk-2" not in json.dumps(passed) and "OPENROUTER_API_KEY" not in passed


def said(body: str, msgtype: str = "m.text", edit: bool = False, by: str = BOT) -> dict[str, Any]:
    content: dict[str, Any] = {"msgtype": msgtype, "body": body}
    if edit:
        relation = {"rel_type": "m.replace", "event_id": "$1"}
        content = {
            **content,
            "body": f"* {body}",
            "m.new_content": content,
            "m.relates_to": relation,
        }
    event = {"type": "m.room.message", "sender": by, "content": content}
    return {"timeline": {"events": [event]}}


def typing(*users: str) -> dict[str, Any]:
    event = {"type": "m.typing", "content": {"user_ids": users}}
    return {"ephemeral": {"events": [event]}}


def test_an_answer_is_followed_to_its_last_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "QUIET", -1.0)
    listener = Listener(BOT)
    assert not listener.complete
    for part in (typing(BOT), said("hello", by="@jane:x"), said("Hel")):
        listener.hear(part)
    assert not listener.complete
    listener.hear(said("Hello!", edit=True))
    listener.hear(typing())
    assert listener.complete and listener.answer == "Hello!"


def test_an_error_in_the_room_is_not_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "QUIET", -1.0)
    listener = Listener(BOT)
    listener.hear(said("The model does not answer.", "m.notice"))
    assert not listener.complete
    assert listener.gave_up and listener.notice == "The model does not answer."
