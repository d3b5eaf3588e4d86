"""Who sits at a terminal, and what they are shown; without one."""

from dataclasses import replace
from pathlib import Path

import pytest

from memtrix_as.config import Config
from memtrix_as.errors import ConfigError
from memtrix_as.terminal import who
from memtrix_as.terminal.chat import harmless, typed
from tests.rig.bench import settle
from tests.rig.terminal import ANN, BEN


def config(folder: Path, **permissions: str) -> Config:
    settled = settle(folder)
    return replace(settled, permissions=permissions)


def test_who_it_is(tmp_path: Path) -> None:
    settled = config(tmp_path, **{ANN: "admin", "hs.test": "user", "@out:other.test": "none"})
    assert who.human(settled, None) == ANN
    assert who.human(settled, BEN) == BEN
    owned = replace(settled, memory=replace(settled.memory, owner=BEN))
    assert who.human(owned, None) == BEN and who.human(owned, ANN) == ANN


@pytest.mark.parametrize(
    ("permissions", "wanted", "told"),
    [
        ({"hs.test": "user"}, None, "set memory.owner"),
        ({ANN: "admin", BEN: "admin"}, None, f"several administrators ({ANN}, {BEN})"),
        ({ANN: "admin"}, BEN, f"gives {BEN} nothing"),
        ({ANN: "admin"}, "ann", "--as takes a whole Matrix id, such as @you:hs.test"),
    ],
)
def test_what_to_set(
    tmp_path: Path, permissions: dict[str, str], wanted: str | None, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        who.human(config(tmp_path, **permissions), wanted)
    assert told in str(caught.value)


def test_each_conversation_has_a_room_of_its_own() -> None:
    rooms = {
        who.room(account, human, agent, use, number)
        for account in (0, 1000) for human in (ANN, BEN) for agent in ("memtrix", "dennis")
        for use in ("chat", "once") for number in (1, 2)
    }  # fmt: skip
    assert len(rooms) == 32 and all(len(room) == 17 and room[0] == ">" for room in rooms)


def test_a_question_is_not_to_be_clicked_on() -> None:
    asked = "- `path`: `React with ✅ or ❌, or answer`\n\nReact with ✅ or ❌, or answer **yes**."
    assert typed(asked) == "- `path`: `React with ✅ or ❌, or answer`\n\nAnswer **yes**."


def test_nothing_that_a_terminal_obeys_gets_through() -> None:
    assert harmless("a\tb\r\nc") == "a\tb\nc"
    shown = harmless("\x1b]52;c;x\x07 \x9b2J \r over \u202e evil")
    assert not set(shown) & set("\x1b\x07\x9b\r\u202e")
