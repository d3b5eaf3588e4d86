"""The wizard with a file of answers in place of a person."""

import json
from pathlib import Path
from typing import Any

import pytest

from memtrix_as import __main__ as command
from memtrix_as.settings import document
from memtrix_as.testing import ScriptedModel


class Answers:
    """A folder with a file of answers, and a run of the wizard with them."""

    def __init__(self, folder: Path, model: ScriptedModel) -> None:
        self.folder, self.config = folder, folder / "config.yaml"
        self.given: dict[str, Any] = {
            "name": "Memtrix",
            "channel": "matrix",
            "providers": {"box": {"type": "openai_compatible", "base_url": model.url}},
            "models": {"small": {"provider": "box", "model": "scripted"}},
            "homeserver": {"software": "synapse", "domain": "hs.test", "address": model.url},
            "appservice": {"port": 29347, "database": "embedded"},
            "user": "@ann:hs.test",
            "search": "none",
            "embeddings": {"how": "none"},
            "timezone": "Europe/Berlin",
        }

    def run(self, *more: str) -> int:
        file = self.folder / "answers.yaml"
        file.write_text(json.dumps(self.given))
        options = ["onboard", "-c", str(self.config), "--answers", str(file), *more]
        with pytest.raises(SystemExit) as ended:
            command.main(options)
        return int(str(ended.value.code))

    @property
    def written(self) -> dict[str, Any]:
        return document.read(self.config)
