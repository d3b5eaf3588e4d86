"""Providers are found by their files and built from the configuration; models are asked by name."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from memtrix_as import config
from memtrix_as.errors import ConfigError
from memtrix_as.messages import Message, Reply, ToolSpec
from memtrix_as.providers import catalog
from memtrix_as.providers.catalog import Models
from memtrix_as.providers.ollama import Ollama
from memtrix_as.testing import ScriptedModel
from tests.rig.settings import settings, tokens, write

TOOLS = [ToolSpec("get_time", "The time", {"type": "object"})]
GOOD = """
from memtrix_as.providers.base import BaseProvider

class Echo(BaseProvider):
    type = "echo"

    def __init__(self, **anything):
        self.anything = anything

    async def stream(self, request):
        yield request

    async def models(self):
        return []
"""


def load(folder: Path, providers: Any, models: Any) -> config.Config:
    values = settings(tokens("m"), "http://127.0.0.1:9", 1, "embedded")
    values |= {"providers": providers, "models": models}
    values["main_agent"]["model"] = next(iter(models))
    return config.load(write(folder / "config.yaml", values))


async def test_models_are_asked_by_name(tmp_path: Path) -> None:
    async with ScriptedModel() as server:
        providers = {
            "a": {"type": "openai_compatible", "base_url": server.url},
            "b": {"type": "ollama", "base_url": server.url, "context": 4096},
        }
        models = {
            "one": {"provider": "a", "model": "m1", "temperature": 0.1, "max_tokens": 7},
            "two": {"provider": "b", "model": "scripted", "tools": False, "context": 16384},
        }
        known = Models.from_config(load(tmp_path, providers, models))
        assert known.names() == ["one", "two"] and known.broken == []
        assert known.context("two") == known.get("two").context == 16384
        for name in known.names():
            stream = known.get(name).stream([Message("user", "hi")], TOOLS, timeout=5)
            replies = [piece async for piece in stream if isinstance(piece, Reply)]
            assert replies[0].message.text == "You said: hi"
        first, second = server.requests
        assert (first.model, first.body["temperature"], first.body["max_tokens"]) == ("m1", 0.1, 7)
        assert first.tools and not second.tools and second.model == "scripted-memtrix-16384"
        with pytest.raises(ConfigError, match='no model "three"; there are: one, two'):
            known.get("three")
        await known.close()


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"type": "magic"}, r"providers\.p\.type: .*ollama, openai_compatible, openrouter"),
        ({"type": "ollama", "url": "x"}, r"providers\.p\.url: there is no such key; .*base_url"),
        ({"type": "openai_compatible"}, r"providers\.p\.base_url: is missing"),
        ({"type": "ollama", "context": "big"}, r"providers\.p\.context: expected a whole number"),
        ({"type": "ollama", "context": True}, r"providers\.p\.context: expected a whole number"),
        ({"type": "openrouter", "api_key": 5}, r"providers\.p\.api_key: expected text"),
        ({"type": "openrouter", "api_key": "k", "zdr": 1}, r"providers\.p\.zdr: .*true or false"),
        (
            {"type": "openrouter", "api_key": "k", "data_collection": "no"},
            r'providers\.p\.data_collection: expected "deny" or "allow"',
        ),
        (
            {"type": "ollama", "proxy": "socks9://x"},
            r"providers\.p: ollama cannot be set up so: ",
        ),
    ],
)
def test_a_wrong_section_is_named(tmp_path: Path, section: Any, words: str) -> None:
    loaded = load(tmp_path, {"p": section}, {"m": {"provider": "p", "model": "x"}})
    with pytest.raises(ConfigError, match=words):
        Models.from_config(loaded)


def test_an_idle_timeout_may_be_a_whole_number() -> None:
    section = config.Provider("ollama", {"idle_timeout": 60})
    assert isinstance(catalog.build("p", section, {"ollama": Ollama}), Ollama)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A folder of provider files, importable as `some_providers`."""
    folder = tmp_path / "some_providers"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module("some_providers")
    for name in [name for name in sys.modules if name.startswith("some_providers")]:
        del sys.modules[name]


def test_a_file_dropped_in_is_found_and_a_broken_one_stops_nothing(
    package: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(package.__path__[0])
    for name, text in {
        "good": GOOD,
        "again": GOOD,
        "raises": "1 / 0",
        "syntax": "def",
        "other": "from some_providers.good import Echo\nx = 3",
    }.items():
        (folder / f"{name}.py").write_text(text)
    kinds, broken = catalog.discover(package)
    assert list(kinds) == ["echo"]
    assert broken == [f"some_providers.{name}" for name in ("good", "raises", "syntax")]
    assert "ZeroDivisionError" in caplog.text
    built = catalog.build("p", config.Provider("echo", {"a": [1]}), kinds)
    assert vars(built) == {"anything": {"a": [1]}}
