"""The configuration: what is read, and every refusal with the name of its key."""

import logging
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from memtrix_as import config
from memtrix_as.errors import ConfigError
from memtrix_as.matrix import registration

EXAMPLE = Path(__file__).parent.parent / "config.example.yaml"
TOKEN = "as-token-that-nobody-else-knows"

GOOD = f"""
homeserver: {{address: "http://localhost:6167", domain: memtrix.local, software: synapse}}
appservice:
  address: http://localhost:29345/
  hostname: 127.0.0.1
  port: 29345
  as_token: {TOKEN}
  hs_token: hs-token-that-nobody-else-knows
main_agent: {{name: Memtrix, model: my-model}}
providers:
  my-ollama: {{type: ollama, base_url: "http://localhost:11434/"}}
models:
  my-model: {{provider: my-ollama, model: llama3.1, think: true}}
permissions: {{"*": none, memtrix.local: user, "@anna:memtrix.local": admin}}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def changed(folder: Path, key: str, value: Any) -> Path:
    """GOOD with one key set, or taken out by `...`."""
    yaml = YAML(typ="safe")
    document = yaml.load(GOOD)
    *sections, name = key.split("/")
    section = document
    for at in sections:
        section = section.setdefault(at, {})
    if value is ...:
        del section[name]
    else:
        section[name] = value
    path = folder / "config.yaml"
    with path.open("w") as file:
        yaml.dump(document, file)
    return path


def refusal(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    first, *lines = str(caught.value).split("\n")
    assert str(path) in first
    return [line.strip() for line in lines]


def test_a_good_file_is_read(tmp_path: Path) -> None:
    settings = config.load(write(tmp_path, GOOD))
    assert settings.homeserver == config.Homeserver(
        "http://localhost:6167", "memtrix.local", "synapse"
    )
    assert settings.appservice.address == "http://localhost:29345"  # without the slash
    assert settings.appservice.database == "embedded"
    assert settings.appservice.sender_localpart == "_memtrix_as"
    assert settings.providers["my-ollama"].type == "ollama"
    assert settings.providers["my-ollama"].options == {"base_url": "http://localhost:11434"}
    assert settings.models["my-model"].think is True
    assert settings.permissions["@anna:memtrix.local"] == "admin"
    assert settings.limits == config.Limits()
    assert settings.management.room == "#memtrix-admin"


def test_paths_count_from_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    path = changed(tmp_path, "tools", {"directories": ["./tools", "/elsewhere"]})
    settings = config.load(path)
    assert settings.workspace_directory == tmp_path / "workspace"
    assert settings.tools.directories == (tmp_path / "tools", Path("/elsewhere"))
    path = changed(tmp_path, "provider_directories", ["./providers"])
    assert config.load(path).provider_directories == (tmp_path / "providers",)
    assert config.load(changed(tmp_path, "data_directory", "../d")).data_directory == (
        tmp_path / "../d"
    )


def test_all_sections_of_the_outer_surface_are_read(tmp_path: Path) -> None:
    more = """
embeddings: {model: ./models/minilm, device: cpu}
search: {searxng_url: "http://localhost:8080"}
tools: {directories: [./tools], disabled: [web_search]}
management: {room: "#office:memtrix.local"}
limits: {tool_rounds: 3, turn_timeout: 60}
logging: {level: DEBUG, loggers: {memtrix_as.db: WARNING}}
timezone: Europe/Berlin
provider_directories: [/srv/providers]
"""
    settings = config.load(write(tmp_path, GOOD + more))
    assert settings.search.searxng_url == "http://localhost:8080"
    assert settings.tools.disabled == ("web_search",)
    assert settings.limits.turn_timeout == 60.0
    assert settings.timezone.key == "Europe/Berlin"


def test_an_empty_section_means_its_defaults(tmp_path: Path) -> None:
    more = "limits:\nembeddings:\nsearch: {searxng_url: }\nlogging:\n"
    assert config.load(write(tmp_path, GOOD + more)).limits == config.Limits()


WRONG: list[tuple[str, Any, str]] = [
    ("homeserver", ..., "homeserver: is missing"),
    ("homeserver", "x", 'homeserver: found "x", expected a section with keys'),
    ("homeserver/adress", "http://a", "homeserver.adress: there is no such key; did you mean addr"),
    ("main-agent", {}, "main-agent: there is no such key; did you mean main_agent?"),
    ("zzz", 1, "zzz: there is no such key; known here: agents_directory, appservice"),
    ("homeserver/address", ..., "homeserver.address: is missing"),
    ("homeserver/address", None, "homeserver.address: found nothing, expected text"),
    ("homeserver/address", "localhost:6167", 'homeserver.address: found "localhost:6167"'),
    ("homeserver/address", "ftp://a", "expected a web address"),
    ("homeserver/address", "http://", "expected a web address"),
    ("homeserver/address", "http://a:b", "expected a web address"),
    ("homeserver/address", "http://a?b=c", "expected a web address"),
    ("homeserver/address", "http://u:p@a", "expected a web address"),
    ("homeserver/address", "http://[::1", "expected a web address"),
    ("homeserver/domain", "example.org", "homeserver.domain: is still the example's"),
    ("homeserver/domain", "http://a", "homeserver.domain: found"),
    ("homeserver/software", "dendrite", "expected one of: conduit, synapse, tuwunel, continuwuity"),
    ("appservice/as_token", ..., "appservice.as_token: has no value yet; `memtrix-as -g"),
    ("appservice/as_token", None, "appservice.as_token: has no value yet"),
    ("appservice/as_token", "generate me", "appservice.as_token: has no value yet"),
    ("appservice/hs_token", "This value is generated when …", "appservice.hs_token: has no value"),
    ("appservice/hs_token", "short", "appservice.hs_token: expected at least 8"),
    ("appservice/hs_token", 123456789, "appservice.hs_token: found a secret that is"),
    ("appservice/hs_token", TOKEN, "appservice.hs_token: is the same as as_token"),
    ("appservice/port", "29345", 'appservice.port: found "29345", expected a whole number'),
    ("appservice/port", True, "appservice.port: found true, expected a whole number"),
    ("appservice/port", 70000, "appservice.port: found 70000 (a number), expected a number from 1"),
    ("appservice/id", "Mem trix", "appservice.id: found"),
    ("appservice/bot_username", "Memtrix", 'appservice.bot_username: found "Memtrix", expected'),
    ("appservice/bot_username", "@memtrix", "appservice.bot_username: found"),
    ("appservice/bot_username", "memtrix_bot", "appservice.bot_username: the user name"),
    ("appservice/bot_username", "_memtrix_as", "appservice.bot_username: \"_memtrix_as\" is kept"),
    ("appservice/username_template", "memtrix_", "appservice.username_template: found"),
    ("appservice/username_template", "{name}_{name}", "{name} in it exactly once"),
    ("appservice/username_template", "Memtrix_{name}", "appservice.username_template: found"),
    ("appservice/username_template", "{name}", "would seize your people's own names"),
    ("appservice/username_template", "_memtrix_{name}", "appservice.id: the user name"),
    ("appservice/database", "sqlite:///x", "appservice.database: expected `embedded`, or"),
    ("main_agent/name", "", "main_agent.name: is empty"),
    ("main_agent/name", 7, "main_agent.name: found 7 (a number), expected text, in quotes"),
    ("main_agent/verbose", "yes", 'main_agent.verbose: found "yes", expected true or false'),
    ("main_agent/model", "gpt", 'main_agent.model: "gpt" is not one of the models'),
    ("providers", {}, "providers: is empty"),
    ("providers", True, "providers: found true, expected a section with keys"),
    ("providers", ["a"], "providers: found a list, expected a section with keys"),
    ("providers/my-ollama", {"base_url": "http://a"}, "providers.my-ollama.type: is missing"),
    ("providers/my-ollama/base_url", "ollama", "providers.my-ollama: base_url: expected a web"),
    ("providers/other", None, "providers.other: found nothing, expected a section"),
    ("models/my-model/provider", "x", 'models.my-model.provider: "x" is not one of the providers'),
    ("models/my-model/thinks", True, "models.my-model.thinks: there is no such key; did you mean"),
    ("models/my-model/temperature", 3, "models.my-model.temperature: found 3 (a number)"),
    ("models/my-model/temperature", float("nan"), "expected a number"),
    ("models/my-model/max_tokens", "many", "models.my-model.max_tokens: found"),
    ("models", ..., "models: is missing"),
    ("permissions", {}, "permissions: is empty"),
    ("permissions/*", "root", 'permissions.*: found "root", expected one of: none, user, admin'),
    ("permissions/@you:memtrix.local", "admin", "permissions.@you:memtrix.local: is still the"),
    ("permissions/@anna", "user", 'permissions.@anna: expected "*", a domain, or a full Matrix id'),
    ("permissions/anna:x:y", "user", "permissions.anna:x:y: expected"),
    ("permissions/5", "user", ""),
    ("data_directory", 5, "data_directory: found 5 (a number), expected the path of a folder"),
    ("data_directory", None, "data_directory: found nothing"),
    ("timezone", "Berlin", 'timezone: found "Berlin", expected a time zone such as'),
    ("timezone", "../etc/passwd", "timezone: found"),
    ("timezone", "Europe", "timezone: found"),
    ("limits/tool_rounds", 0, "limits.tool_rounds: found 0"),
    ("limits/tool_rounds", 1.5, "limits.tool_rounds: found 1.5"),
    ("limits/turn_timeout", "600s", "limits.turn_timeout: found"),
    ("limits/streaming", 1, "limits.streaming: found 1"),
    ("search/searxng_url", "searxng", "search.searxng_url: found"),
    ("tools/directories", "./tools", "tools.directories: found"),
    ("tools/disabled", [1], "tools.disabled[0]: found 1"),
    ("management/room", "memtrix-admin", "management.room: found"),
    ("management/room", "#office:elsewhere.net", "management.room: must be on our own homeserver"),
    ("logging/level", "LOUD", "logging: level: expected one of DEBUG"),
    ("logging/levle", "INFO", "logging: has no key 'levle'"),
    ("logging/loggers", {"a": 1}, "logging: a: expected one of DEBUG"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "told"), WRONG, ids=[f"{w[0]}={w[1]}" for w in WRONG])
def test_what_is_wrong_is_told_by_its_key(tmp_path: Path, key: str, value: Any, told: str) -> None:
    path = changed(tmp_path, key, value)
    if key == "permissions/5":
        path.write_text(path.read_text().replace("'5'", "5"))
        told = "permissions.5: expected a name, in quotes"
    lines = refusal(path)
    assert any(told in line for line in lines), lines
    assert len([line for line in lines if "is not one of the providers" not in line]) <= 1, lines
    assert TOKEN not in str(lines)


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        GOOD.replace("port: 29345", "port: many")
        .replace("domain: memtrix.local", "domain: example.org")
        .replace("model: my-model", "model: other")
        .replace("memtrix.local: user", "memtrix.local: boss"),
    )
    keys = [line.split(": ")[0] for line in refusal(path)]
    assert sorted(keys) == [
        "appservice.port", "homeserver.domain", "main_agent.model", "permissions.memtrix.local",
    ]  # fmt: skip


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    def told(path: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            config.load(path)
        assert caught.value.__cause__ is None or "secret" not in str(caught.value.__cause__)
        return str(caught.value)

    missing = told(tmp_path / "none.yaml")
    assert "config.example.yaml" in missing and "scripts/quickstart" in missing
    assert "line 4: as_token stands there twice" in told(
        write(tmp_path, "a: 1\nappservice:\n  as_token: my-secret\n  as_token: other-secret\n")
    )
    assert "secret" not in told(
        write(tmp_path, "appservice:\n  as_token: my-secret\n  as_token: other-secret\n")
    )
    broken = told(write(tmp_path, "a: [1, 2\nas_token: my-secret\n"))
    assert "is not YAML, line 2" in broken and "my-secret" not in broken
    assert "holds no settings" in told(write(tmp_path, ""))
    assert "holds no settings" in told(write(tmp_path, "- a\n"))
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe4")
    assert "not UTF-8" in told(tmp_path / "latin.yaml")
    assert "cannot be read" in told(tmp_path)


def test_tags_run_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not YAML"):
        config.load(write(tmp_path, GOOD + "timezone: !!python/object/apply:os.system [id]\n"))


def test_the_example_is_refused_until_it_is_filled_in(tmp_path: Path) -> None:
    path = write(tmp_path, EXAMPLE.read_text())
    assert {line.split(": ")[0] for line in refusal(path)} == {
        "appservice.as_token", "appservice.hs_token", "permissions.@you:memtrix.local",
    }  # fmt: skip
    registration.generate(path, tmp_path / "registration.yaml")
    path.write_text(path.read_text().replace("@you:", "@anna:"))
    settings = config.load(path)
    assert settings.limits == config.Limits()
    assert settings.permissions["@anna:memtrix.local"] == "admin"


def test_the_example_shows_the_defaults_and_comments_every_key() -> None:
    text = EXAMPLE.read_text()
    for kind in (config.Homeserver, config.AppService, config.MainAgent, config.Limits):
        for field in fields(kind):
            assert re.search(rf"^  {field.name}: ", text, re.MULTILINE), field.name


def test_no_secret_in_the_repr(tmp_path: Path) -> None:
    path = changed(tmp_path, "appservice/database", "postgresql://me:pass-word-1@host/db")
    path.write_text(path.read_text().replace("type: ollama", "type: ollama, api_key: sk-live-1"))
    shown = repr(config.load(path))
    assert "postgresql" not in shown and "sk-live-1" not in shown and "token-that" not in shown


def test_variables_are_read_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "")
    assert config.environment("OPENROUTER_API_KEY") is None
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk")
    assert config.environment("OPENROUTER_API_KEY") == "sk"


@pytest.fixture
def quiet_logging() -> Any:
    """Puts the loggers back as they were."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], level = before[0], before[1]
    root.setLevel(level)


@pytest.mark.usefixtures("quiet_logging")
def test_the_log_is_readable_and_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = config.load(
        write(tmp_path, GOOD + "logging: {level: WARNING, loggers: {memtrix_as.x: DEBUG}}\n")
    )
    config.setup_logging(settings)
    logging.getLogger("memtrix_as.x").debug("seen %s", TOKEN)
    logging.getLogger("memtrix_as.y").info("not seen")
    logging.getLogger("aiohttp.access").info("PUT /transactions?access_token=x")
    out = capsys.readouterr().err
    assert "DEBUG   memtrix_as.x: seen [secret]" in out
    assert "not seen" not in out and "PUT" not in out


@pytest.mark.usefixtures("quiet_logging")
def test_a_whole_dict_config_is_taken(tmp_path: Path) -> None:
    more = """
logging:
  version: 1
  handlers: {file: {class: logging.FileHandler, filename: "%s"}}
  root: {level: INFO, handlers: [file]}
"""
    log = tmp_path / "memtrix.log"
    config.setup_logging(config.load(write(tmp_path, GOOD + more % log)))
    logging.getLogger("memtrix_as.z").info("token %s", TOKEN)
    for handler in logging.getLogger().handlers:
        handler.close()
    assert log.read_text() == "token [secret]\n"


@pytest.mark.usefixtures("quiet_logging")
def test_a_wrong_dict_config_is_told(tmp_path: Path) -> None:
    more = "logging: {version: 1, handlers: {a: {class: nowhere.Handler}}}\n"
    with pytest.raises(ConfigError, match="logging: "):
        config.setup_logging(config.load(write(tmp_path, GOOD + more)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["homeserver", "appservice", "main_agent", "providers", "models", "permissions", "limits",
     "logging", "tools", "search", "timezone", "appservice/port", "homeserver/address",
     "appservice/as_token", "appservice/id", "appservice/username_template", "models/my-model",
     "providers/my-ollama", "permissions/*", "logging/loggers", "management/room"]
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[*HealthCheck])
@given(key=KEYS, value=JSON)
def test_any_value_is_either_taken_or_told(tmp_path: Path, key: str, value: Any) -> None:
    try:
        path = changed(tmp_path, key, value)
    except UnicodeEncodeError:
        return
    try:
        assert isinstance(config.load(path), config.Config)
    except ConfigError as exc:
        assert TOKEN not in str(exc)


def test_nothing_of_the_environment_is_read_elsewhere() -> None:
    package = Path(config.__file__).parent
    readers = [
        p.name for p in package.rglob("*.py") if re.search(r"os\.(environ|getenv)", p.read_text())
    ]
    assert readers == ["config.py"]


def test_a_folder_of_a_model_counts_from_the_file(tmp_path: Path) -> None:
    for written, read in (
        ("./model", str(tmp_path / "model")),
        ("nomic-ai/nomic", "nomic-ai/nomic"),
    ):
        text = f"{GOOD}embeddings: {{model: {written}}}\n"
        assert config.load(write(tmp_path, text)).embeddings.model == read
