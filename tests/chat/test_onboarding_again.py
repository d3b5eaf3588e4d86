"""The wizard run again: prices and budgets that change, and what is taken out."""

from pathlib import Path

import pytest

from memtrix_as import config
from memtrix_as.testing import ScriptedModel
from tests.rig.answers import Answers


@pytest.fixture
def answers(tmp_path: Path, model: ScriptedModel) -> Answers:
    return Answers(tmp_path, model)


def test_what_it_costs_and_what_may_be_spent(answers: Answers) -> None:
    small = answers.given["models"]["small"]
    small["price"] = {"input": 0.15, "output": 0.6}
    answers.given["budgets"] = {"cost_per_day": 5, "agent_tokens_per_day": 1000}
    assert answers.run("--no-tests") == 0
    settings = config.load(answers.config)
    price = settings.models["small"].price
    assert price and (price.input, price.output) == (0.15, 0.6)
    assert settings.budgets.cost_per_day == 5 and settings.budgets.agent_tokens_per_day == 1000
    answers.given["budgets"] = {"cost_per_day": "none"}
    small["price"] = "free"
    assert answers.run("--no-tests") == 0
    assert answers.written["budgets"] == {"agent_tokens_per_day": 1000}
    assert "price" not in answers.written["models"]["small"]
    for key, wrong in (("budgets", {"cost_per_day": -1}), ("models", {"small": {"price": "1"}})):
        given = answers.given[key]
        answers.given[key] = {**given, **wrong}
        before = answers.config.read_text()
        assert answers.run("--no-tests") == 1 and answers.config.read_text() == before
        answers.given[key] = given


def test_what_is_there_can_be_taken_out(
    answers: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    answers.given["providers"]["old"] = {"type": "ollama"}
    answers.given["models"] |= {
        "older": {"provider": "old", "model": "a"}, "spare": {"provider": "box", "model": "b"},
    }  # fmt: skip
    answers.given |= {"model": "older", "search": "http://127.0.0.1:9"}
    answers.given["embeddings"] = {"how": "server", "base_url": "http://127.0.0.1:9"}
    assert answers.run("--no-tests") == 0
    answers.given = {"remove": {"providers": "older"}}
    assert answers.run("--no-tests") == 1 and "no older to take out" in capsys.readouterr().err
    answers.given = {
        "remove": {"providers": ["old"], "models": ["spare"]},
        "search": "none", "embeddings": {"how": "own", "model": "some/model"},
    }  # fmt: skip
    assert answers.run("--no-tests") == 0
    assert "Without old there is no older." in capsys.readouterr().out
    written = answers.written
    assert (list(written["providers"]), list(written["models"])) == (["box"], ["small"])
    assert written["main_agent"]["model"] == "small"
    assert "search" not in written and written["embeddings"] == {"model": "some/model"}
