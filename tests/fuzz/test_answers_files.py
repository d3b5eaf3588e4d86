"""Any answers at all for the wizard: a configuration, or one error that names the key, and all
stays as it was."""

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtrix_as import config
from memtrix_as.errors import ConfigError
from memtrix_as.terminal import onboarding
from tests.fuzz.junk import JSON, tries

SECRET = "sk-that-nobody-else-knows"
GOOD: dict[str, Any] = {
    "name": "Nora",
    "username": "nora",
    "providers": {
        "box": {"type": "openai_compatible", "base_url": "http://127.0.0.1:9", "api_key": SECRET}
    },
    "models": {"small": {"provider": "box", "model": "m", "context": 4096, "price": "free"}},
    "budgets": {"cost_per_day": "none"},
    "channel": "matrix",
    "homeserver": {"software": "synapse", "domain": "hs.test", "address": "http://127.0.0.1:8"},
    "appservice": {
        "port": 1234, "address": "http://127.0.0.1:7", "hostname": "127.0.0.1",
        "database": "postgresql://a:secretpass@h/d",
    },
    "user": "@ann:hs.test",
    "others": True,
    "search": "none",
    "embeddings": {"how": "server", "base_url": "http://x:1", "api_key": "emb-12345", "model": "q"},
    "timezone": "UTC",
}  # fmt: skip
Path_ = tuple[str, ...]


def _paths(node: dict[str, Any], above: Path_ = ()) -> list[Path_]:
    below = [p for k, v in node.items() if isinstance(v, dict) for p in _paths(v, (*above, k))]
    return [*((*above, key) for key in node), *below]


def put(answers: dict[str, Any], path: Path_, value: Any) -> None:
    for key in path[:-1]:
        answers = (
            answers[key] if isinstance(answers.get(key), dict) else answers.setdefault(key, {})
        )
        if not isinstance(answers, dict):
            return
    answers[path[-1]] = value


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def told(
    folder: Path, answers: Any, *, skip: tuple[str, ...] = (), before: bytes | None = None
) -> str:
    """What the wizard says of answers that it does not take; empty if it has written all."""
    folder.mkdir(exist_ok=True)
    for name in files(folder):
        (folder / name).unlink()
    if before is not None:
        (folder / "config.yaml").write_bytes(before)
    text = answers if isinstance(answers, bytes) else json.dumps(answers).encode()
    (folder / "answers.yaml").write_bytes(text)
    was = files(folder)
    options = argparse.Namespace(
        answers=folder / "answers.yaml", config=folder / "config.yaml", skip=[*skip],
        no_tests=True, compose=False,
    )  # fmt: skip
    try:
        assert onboarding.main(options) == 0
    except ConfigError as exc:
        assert files(folder) == was, "half written"
        assert SECRET not in str(exc) and len(str(exc)) < 20_000
        return str(exc)
    return ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("answers")


def test_good_answers_make_all_files(folder: Path) -> None:
    assert not told(folder, GOOD)
    assert {"config.yaml", "registration.yaml", "secrets/BOX_API_KEY"} <= files(folder).keys()
    assert not told(folder, GOOD | {"write": True})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("providers.box.base_url", "$X"),
        ("providers.box.api_key", "\ud800"),
        ("appservice.hostname", "\ud800"),
        ("appservice.port", "²"),
        ("appservice.port", "9" * 5000),
        ("models.small.context", 10**400),
        ("budgets.cost_per_day", "9" * 400),
        ("budgets.cost_per_day", [[[1]]]),
        ("homeserver.domain", {"a": {"b": 1}}),
        ("timezone", "x" * 50_000),
        ("user", None),
        ("providers", {"\ud800": {}}),
        ("providers", [1]),
        ("nobody.asks", 1),
    ],
)
def test_a_wrong_answer_is_told_by_its_key(folder: Path, key: str, value: Any) -> None:
    answers = copy.deepcopy(GOOD)
    put(answers, tuple(key.split(".")), value)
    said = told(folder, answers)
    if value is None:  # as if it were not there: something else may be needed
        return
    assert ("half a character" if key == "providers" and value != [1] else key) in said


def test_numbers_as_names_are_names(folder: Path) -> None:
    text = json.dumps(GOOD).replace('"small"', "7").replace('"box"', "8").encode()
    assert not told(folder, text)
    config.load(folder / "config.yaml")


def test_a_refusal_brings_back_the_secrets_that_were_there(folder: Path) -> None:
    assert not told(folder, GOOD)
    (folder / "secrets" / "BOX_API_KEY").write_text("of before\n")
    was = files(folder)
    answers = copy.deepcopy(GOOD)
    answers["embeddings"]["model"] = "~nobody-of-this-name/x"
    (folder / "answers.yaml").write_text(json.dumps(answers))
    options = argparse.Namespace(
        answers=folder / "answers.yaml", config=folder / "config.yaml", skip=[], no_tests=True,
        compose=False,
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"embeddings\.model"):
        onboarding.main(options)
    assert {**files(folder), "answers.yaml": b""} == {**was, "answers.yaml": b""}


@pytest.mark.parametrize("step", ["agent", "providers", "models", "homeserver", "people"])
def test_what_is_not_there_yet_cannot_be_skipped(folder: Path, step: str) -> None:
    assert f"--skip {step}" in told(folder, GOOD, skip=(step,))


@pytest.mark.parametrize(
    "wrong",
    [
        {"providers": "x"},
        {"models": {"small": []}},
        {"models": {"small": {"price": "x"}}},
        {"budgets": [False, {}]},
        {"main_agent": {"model": []}},
        {"permissions": {"hs.test": []}},
        {"homeserver": "x"},
        {"embeddings": {"api_key": []}},
        {"timezone": {}},
        {"provider_directories": ["\0"]},
    ],
    ids=str,
)
def test_a_configuration_that_is_none_is_told(folder: Path, wrong: dict[str, Any]) -> None:
    told(folder, {"name": "Nora"}, before=json.dumps(GOOD_CONFIG | wrong).encode())
    told(folder, GOOD, before=json.dumps(GOOD_CONFIG | wrong).encode())


GOOD_CONFIG: dict[str, Any] = {
    "homeserver": {"address": "http://h:1", "domain": "hs.test", "software": "synapse"},
    "main_agent": {"name": "Nora", "model": "small"},
    "providers": {"box": {"type": "ollama"}},
    "models": {"small": {"provider": "box", "model": "m"}},
    "permissions": {"@ann:hs.test": "admin"},
}
ODD = JSON | st.sampled_from(
    ["²", "9" * 5000, "1e400", "inf", "nan", "-1", "$X", "$", "none", "http://[", "*", "a\nb",
     "....1x1x1", "../..", "{", "!!x", "~", "x" * 70_000, 1e999, 10**400, {"": 1}, {"x": {}}]
)  # fmt: skip


@tries(12)
@given(st.lists(st.tuples(st.sampled_from(_paths(GOOD)), ODD), min_size=1, max_size=2))
def test_any_answers_are_taken_or_refused(folder: Path, changes: list[tuple[Path_, Any]]) -> None:
    answers = copy.deepcopy(GOOD)
    for path, value in changes:
        put(answers, path, value)
    told(folder, answers)


@tries(12)
@given(st.sampled_from(_paths(GOOD_CONFIG)), ODD)
def test_any_configuration_is_taken_or_refused(folder: Path, path: Path_, value: Any) -> None:
    was = copy.deepcopy(GOOD_CONFIG)
    put(was, path, value)
    told(folder, GOOD, before=json.dumps(was).encode())


@tries(12)
@given(st.binary(max_size=40), st.integers(0, 900), st.integers(0, 20))
def test_any_bytes_are_taken_or_refused(folder: Path, odd: bytes, at: int, cut: int) -> None:
    text = json.dumps(GOOD).encode()
    told(folder, text[:at] + odd + text[at + cut :])
