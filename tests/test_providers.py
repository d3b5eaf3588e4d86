"""Providers are found by their files and built from the configuration; models are asked by name."""

from pathlib import Path
from typing import Any

import pytest

from memtrix_as import config
from memtrix_as.errors import ConfigError
from memtrix_as.messages import Message, Reply, ToolSpec
from memtrix_as.providers import catalog
from memtrix_as.providers.catalog import Models
from memtrix_as.providers.ollama import Ollama
from memtrix_as.testing import ScriptedModel
from tests.rig.dropped import drop, install
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
        assert known.names() == ["one", "two"] and known.broken == ()
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


def test_a_file_dropped_in_is_found_and_a_broken_one_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, text in {
        "a_good": GOOD,
        "again": GOOD,
        "raises": "1 / 0",
        "stops": "raise SystemExit",
        "syntax": "def",
        "neither": "from memtrix_as.providers.base import BaseProvider\n"
        "class Odd(BaseProvider): ...",
        "other": "from .a_good import Echo\nx = 3",
    }.items():
        drop(tmp_path, f"{name}.py", text)
    found = catalog.discover([tmp_path])
    assert sorted(found.kinds) == ["echo", "ollama", "openai_compatible", "openrouter"]
    broken = {b.where.rsplit("/", 1)[-1]: b.why for b in found.broken}
    assert list(broken) == ["again.py: Echo", "neither.py: Odd", "raises.py", "stops.py",
                            "syntax.py"]  # fmt: skip
    assert broken["neither.py: Odd"] == "has neither stream nor completions"
    assert "ZeroDivisionError" in caplog.text
    built = catalog.build("p", config.Provider("echo", {"a": [1]}), found.kinds)
    assert vars(built) == {"anything": {"a": [1]}}
    with pytest.raises(ConfigError, match=r"raises.py cannot be used: ZeroDivisionError"):
        catalog.build("p", config.Provider("raises"), found.kinds, found.broken)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("def __init__(self): super().__init__(name='handed')", "handed"),
        ("def __init__(self): BaseProvider.__init__(self, 'first')", "first"),
        ("type = 'declared'\n    def __init__(self): super().__init__(name='x')", "declared"),
        ("def __init__(self): super().__init__(name=str(1))", "file"),
        ("x = 1", "file"),
    ],
)
def test_what_a_class_is_called_in_the_configuration(tmp_path: Path, body: str, kind: str) -> None:
    first = "from memtrix_as.providers.base import BaseProvider\n\nclass Odd(BaseProvider):\n"
    drop(tmp_path, "file.py", f"{first}    def completions(self, m, h): ...\n    {body}\n")
    assert kind in catalog.discover([tmp_path]).kinds


def test_installed_packages_offer_providers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = "memtrix_as.providers"
    install(tmp_path, "prov_a", GOOD, group, "all = prov_a")
    install(tmp_path, "prov_b", GOOD.replace('type = "echo"', "x = 1"), group, "two = prov_b:Echo")
    install(tmp_path, "prov_c", "X = 1", group, "odd = prov_c:X", "gone = prov_d")
    monkeypatch.syspath_prepend(tmp_path)
    found = catalog.discover()
    assert {"echo", "two"} <= found.kinds.keys()
    assert len(found.broken) == 2 and "1 is neither" in found.broken[1].why


def test_a_strangers_constructor_that_fails_names_its_section(tmp_path: Path) -> None:
    """Whatever it raises; and hints that cannot be read are taken for none."""
    odd = GOOD.replace("self, **anything", 'self, key: "Nowhere"').replace("self.any", "{}[1] # ")
    drop(tmp_path, "odd.py", odd)
    found = catalog.discover([tmp_path])
    with pytest.raises(ConfigError, match=r"providers\.p: echo cannot be set up so: KeyError: 1"):
        catalog.build("p", config.Provider("echo", {"key": 1}), found.kinds)
