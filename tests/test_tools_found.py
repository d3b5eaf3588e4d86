"""Tools that an operator drops into a folder: found file by file, and none spoils another."""

import logging
from pathlib import Path

import pytest

from memtrix_as import tools

FINE = '''
from memtrix_as.tool import tool

@tool()
async def {name}(text: str) -> str:
    """Say it back.

    Args:
        text: what to say
    """
    return text
'''


def drop(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def test_a_dropped_file_is_a_tool(tmp_path: Path) -> None:
    drop(tmp_path, "echo.py", FINE.format(name="echo"))
    found = tools.discover([tmp_path])
    assert {"echo", "get_current_time"} <= found.keys()
    assert found["echo"].spec.description == "Say it back."


@pytest.mark.parametrize(
    "text",
    [
        "def broken(:",
        "import nothing_of_this_name",
        "1 / 0",
        "raise SystemExit(1)",
        "\0",
        "import os\nos.nope",
    ],
)
def test_a_broken_file_disables_itself_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    drop(tmp_path, "a_broken.py", text)
    drop(tmp_path, "b_fine.py", FINE.format(name="echo"))
    with caplog.at_level(logging.ERROR):
        assert "echo" in tools.discover([tmp_path])
    assert "a_broken.py" in caplog.text


def test_a_name_that_is_taken_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    drop(tmp_path, "a.py", FINE.format(name="echo"))
    drop(tmp_path, "b.py", FINE.format(name="echo"))
    drop(tmp_path, "clock.py", FINE.format(name="get_current_time"))
    found = tools.discover([tmp_path])
    assert found["get_current_time"].repeatable, "a file takes nothing of ours away"
    assert "b.py: there is a tool echo" in caplog.text
    assert "clock.py: there is a tool get_current_time" in caplog.text


def test_what_is_disabled_is_not_offered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    drop(tmp_path, "echo.py", FINE.format(name="echo"))
    found = tools.discover([tmp_path, tmp_path / "away"], ["echo", "nonsense"])
    assert "echo" not in found
    assert "no folder" in caplog.text and "nonsense" in caplog.text


def test_files_that_are_no_tools_are_left_alone(tmp_path: Path) -> None:
    for name in ("_private.py", ".hidden.py", "notes.txt"):
        drop(tmp_path, name, "1 / 0")
    assert tools.discover([tmp_path]).keys() == tools.discover().keys()
