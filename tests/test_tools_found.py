"""Tools of others: found in folders and packages file by file, and none spoils another."""

import logging
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from memtrix_as import tools
from memtrix_as.providers import catalog
from memtrix_as.tools import discovery
from memtrix_as.tools.discovery import Found
from tests.rig.dropped import ROOT, code, drop, install

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
CLASS = """
from {path} import BaseTool


class {kind}(BaseTool):
    def __init__(self) -> None:
        super().__init__(name="{name}", description="Says something.", parameters={{}})

    def execute(self, **kwargs) -> str:
        return "{name}"
"""


def reasons(found: Found) -> dict[str, str]:
    """What is broken: the end of where, and why."""
    return {broken.where.rsplit("/", 1)[-1]: broken.why for broken in found.broken}


def test_a_dropped_file_is_a_tool(tmp_path: Path) -> None:
    drop(tmp_path, "echo.py", FINE.format(name="echo"))
    found = tools.discover([tmp_path])
    assert {"echo", "get_current_time"} <= found.tools.keys()
    assert found.tools["echo"].spec.description == "Say it back."
    assert found.broken == ()


@pytest.mark.parametrize("path", ["memtrix_as.tool", "memtrix_as.tools.base"])
def test_a_class_is_one_from_either_import_path(tmp_path: Path, path: str) -> None:
    drop(tmp_path, "said.py", CLASS.format(path=path, kind="Said", name="said"))
    said = tools.discover([tmp_path]).tools["said"]
    assert said.spec.parameters == {"type": "object", "properties": {}}
    policy = said.confirm, said.untrusted, said.alone, said.repeatable, said.harmless
    assert policy == (False,) * 5


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def broken(:", "SyntaxError"),
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("import sys; sys.exit()", "SystemExit"),
        ("class Mine(BaseException): pass\nraise Mine('no')", "Mine: no"),
        ("def f(): f()\nf()", "RecursionError"),
        ("\0", "null bytes"),  # a SyntaxError, before Python 3.11.4 a ValueError
        ("import os\nos.nope", "AttributeError"),
        ("import b_fine", "b_fine.py stands beside it: write `from . import b_fine`"),
    ],
)
def test_a_broken_file_disables_itself_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, why: str
) -> None:
    drop(tmp_path, "a_broken.py", text)
    drop(tmp_path, "b_fine.py", FINE.format(name="echo"))
    with caplog.at_level(logging.ERROR):
        found = tools.discover([tmp_path])
    assert "echo" in found.tools and "get_current_time" in found.tools
    assert list(reasons(found)) == ["a_broken.py"] and why in reasons(found)["a_broken.py"]
    assert "a_broken.py" in caplog.text


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("def __init__(self, planet): ...", "asks for planet; what it can have: nothing"),
        ("def __init__(self): pass", "does not call super().__init__"),
        ("def __init__(self): 1 / 0", "ZeroDivisionError"),
        ("def __init__(self): super().__init__('a b', 'x')", "'a b' has other signs"),
        ("def __init__(self): super().__init__('x', '')", "no description"),
        ("def __init__(self): super().__init__('x', 'x', {'type': 'array'})", "JSON Schema of an"),
        (
            "def __init__(self): super().__init__('x', 'x', {'properties': {'a': {'type': 'No'}}})",
            "no JSON Schema: 'No'",
        ),
        (
            "def __init__(self): super().__init__('x', 'x', {'properties': {'_room_id': {}}})",
            "_room_id: what begins with _ is not the model's",
        ),
        ("confirm = 'yes'\n    def __init__(self): super().__init__('x', 'x')", "True or False"),
        (
            "def __init__(self): super().__init__('x', 'x')\n    def execute(self, a): ...",
            "execute needs a, which `required` does not promise",
        ),
    ],
)
def test_a_class_that_could_not_work_is_told_at_start(tmp_path: Path, body: str, why: str) -> None:
    first = "from memtrix_as.tool import BaseTool\n\nclass Odd(BaseTool):\n"
    text = f"{first}    def execute(self, **kwargs): ...\n    {body}\n"
    drop(tmp_path, "odd.py", text + CLASS.format(path="memtrix_as.tool", kind="Said", name="said"))
    found = tools.discover([tmp_path])
    assert why in reasons(found)["odd.py: Odd"]
    assert "said" in found.tools, "the other class of the file"


def test_a_name_that_is_taken_is_told(tmp_path: Path) -> None:
    drop(tmp_path, "a.py", FINE.format(name="echo"))
    drop(tmp_path, "b.py", FINE.format(name="echo"))
    drop(tmp_path, "clock.py", FINE.format(name="get_current_time"))
    found = tools.discover([tmp_path])
    assert found.tools["get_current_time"].repeatable, "a file takes nothing of ours away"
    assert reasons(found) == {
        "b.py": "there is a tool echo already; this one is left out",
        "clock.py": "there is a tool get_current_time already; this one is left out",
    }


def test_what_is_disabled_is_not_offered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    drop(tmp_path, "echo.py", FINE.format(name="echo"))
    found = tools.discover([tmp_path, tmp_path / "away"], ["echo", "nonsense"])
    assert "echo" not in found.tools
    assert "no such folder" in reasons(found)["away"] and "nonsense" in caplog.text


def test_files_that_are_no_tools_are_left_alone(tmp_path: Path) -> None:
    for name in ("_private.py", ".hidden.py", "notes.txt"):
        drop(tmp_path, name, "1 / 0")
    found = tools.discover([tmp_path])
    assert found.tools.keys() == tools.discover().tools.keys() and not found.broken


def test_two_folders_may_have_files_of_one_name_and_helpers(tmp_path: Path) -> None:
    for name in ("one", "two"):
        helped = FINE.format(name=name).replace("return text", "return f'{WORD} {text}'")
        drop(tmp_path / name, "same.py", f"from ._help import WORD\n{helped}")
        drop(tmp_path / name, "_help.py", f"WORD = {name!r}")
        drop(tmp_path / name, "json.py", "1 / 0")  # hides nobody's json
    found = tools.discover([tmp_path / "one", tmp_path / "two", tmp_path / "one"])
    assert {"one", "two"} <= found.tools.keys()
    assert [b.where.rsplit("/", 2)[1] for b in found.broken] == ["one", "two"]


def test_a_file_is_loaded_once(tmp_path: Path) -> None:
    """Also where another imports it; and its tools and bases are offered by itself only."""
    count = f"with open({str(tmp_path / 'count')!r}, 'a') as f: f.write('x')\n"
    drop(tmp_path, "b.py", count + CLASS.format(path="memtrix_as.tool", kind="Said", name="said"))
    more = "\n\nclass More(Said):\n    def __init__(self):\n        super().__init__()\n"
    drop(tmp_path, "a.py", f"from .b import Said{more}        self.name = 'more'\n")
    drop(tmp_path, "c.py", f"from .d import echo\n{FINE.format(name='other')}")
    drop(tmp_path, "d.py", FINE.format(name="echo"))
    found = tools.discover([tmp_path])
    assert {"said", "more", "echo", "other"} <= found.tools.keys() and not found.broken
    assert (tmp_path / "count").read_text() == "x"


def test_bases_of_other_tools_are_no_tools(tmp_path: Path) -> None:
    base = CLASS.format(path="memtrix_as.tool", kind="_Base", name="base")
    drop(tmp_path, "own.py", f"{base}\n\nclass Mine(_Base): ...\n")
    found = tools.discover([tmp_path])
    assert "base" in found.tools and not found.broken


def test_installed_packages_offer_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = CLASS.format(path="memtrix_as.tool", kind="Said", name="said")
    both = FINE.format(name="first") + FINE.format(name="second")
    site: Callable[..., None] = lambda name, text, *offers: install(  # noqa: E731
        tmp_path, name, text, "memtrix_as.tools", *offers
    )
    site("pack_a", both, "all = pack_a")
    site("pack_b", FINE.format(name="single"), "one = pack_b:single")
    site("pack_c", said, "kind = pack_c:Said")
    site("pack_d", f"{both.replace('first', 'third')}\nMINE = (third, second)", "m = pack_d:MINE")
    site("pack_e", "1 / 0", "broken = pack_e", "gone = pack_nowhere:x")
    site("pack_f", "ODD = 5", "odd = pack_f:ODD")
    monkeypatch.syspath_prepend(tmp_path)
    found = tools.discover()
    assert {"first", "second", "single", "said", "third"} <= found.tools.keys()
    told = {broken.where.split()[0]: broken.why for broken in found.broken}
    assert told.keys() == {"pack-d", "pack-e", "pack-f"}
    assert "a tool second already" in told["pack-d"] and "5 is neither" in told["pack-f"]
    assert len(found.broken) == 4


def test_the_entry_points_of_the_docs() -> None:
    (text,) = code("docs/tools.md", "Helpers and packages", "toml")
    assert list(tomllib.loads(text)["project"]["entry-points"]) == [discovery.GROUP]
    assert f"`{catalog.GROUP}`" in (ROOT / "docs/providers.md").read_text()
